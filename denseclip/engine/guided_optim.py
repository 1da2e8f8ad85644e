"""Optimizer groups of models with a prompt guide."""

from __future__ import annotations

from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from .detectron_optim import DetectronOptimWrapperConstructor

_GUIDE = 'prompt_guide.'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PromptGuideOptimWrapperConstructor(DetectronOptimWrapperConstructor):
    """The host's groups; the guide learns as the host's decoder does, its gates and biases without weight decay.

    Decay would pull the gates, which start at zero, back to it. A choice of the suite; the paper's text on training
    could not be read.
    """

    def settings(self, name: str, module: nn.Module) -> tuple[float, float]:
        """See :meth:`DetectronOptimWrapperConstructor.settings`."""
        rate, decay = super().settings(name, module)
        last = name.rsplit('.', 1)[-1]
        if name.startswith(_GUIDE) and (last == 'gamma' or last.endswith('bias')):
            decay = 0.0
        return rate, decay
