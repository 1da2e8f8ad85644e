"""The optimizer groups of detectron2's mask models: MaskFormer, OVSeg, FC-CLIP, MAFT+."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
_FACTORS = {'backbone_lr_mult': 1.0, 'norm_decay_mult': 0.0, 'embed_decay_mult': 0.0}
_TABLES = ('relative_position_bias_table', 'absolute_pos_embed')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DetectronOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Another learning rate for the backbone; no weight decay for norms, embeddings and Swin's position tables.

    Unlike MMEngine's rules, which decide by the last part of a name or by one key, these hold together: a norm of the
    backbone has the backbone's rate and no decay. Biases of other layers and bare parameters do decay. Frozen
    parameters are left out; parameters with the same settings share a group.

    ``paramwise_cfg`` knows:

    * ``backbone_lr_mult`` (1.0): factor of the learning rate of parameters with "backbone" in their name and of
      ``clip_logit_scale``, which is CLIP's, but not of ``backbone.pyramid``, the new branches that a ViT trunk gets for
      the mask generator;
    * ``norm_decay_mult`` (0.0): factor of the weight decay of norm layers;
    * ``embed_decay_mult`` (0.0): the same of ``nn.Embedding`` and of Swin's position tables.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper with its optimizer.
        paramwise_cfg: See above.

    Raises:
        TypeError: If ``paramwise_cfg`` has another key.
        ValueError: If the optimizer has no weight decay to leave out.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        given = paramwise_cfg or {}
        unknown = sorted(set(given) - set(_FACTORS))
        if unknown:
            raise TypeError(
                f'{type(self).__name__} knows no {", ".join(unknown)}; paramwise_cfg takes {", ".join(_FACTORS)}.'
            )
        if optim_wrapper_cfg.get('optimizer', {}).get('weight_decay') is None:
            raise ValueError(f'{type(self).__name__} needs optimizer.weight_decay; 0 is fine.')
        super().__init__(optim_wrapper_cfg, {**_FACTORS, **given})

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None) -> None:
        """Add the groups of a whole model."""
        del prefix, is_dcn_module
        params.extend(self.groups(module))

    def groups(self, model: nn.Module) -> Iterator[dict[str, Any]]:
        """Parameter groups, in the order in which the model names the first parameter of each."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        seen: set[int] = set()
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    settings = self.settings(f'{path}.{name}' if path else name, module)
                    groups.setdefault(settings, []).append(parameter)
        for (rate, decay), parameters in groups.items():
            yield {'params': parameters, 'lr': rate, 'weight_decay': decay}

    def settings(self, name: str, module: nn.Module) -> tuple[float, float]:
        """Learning rate and weight decay of a parameter.

        Args:
            name: Its full name.
            module: The module that it belongs to.
        """
        rate, decay = self.base_lr, self.base_wd
        if name == 'clip_logit_scale' or ('backbone' in name and 'backbone.pyramid.' not in name):
            rate *= self.paramwise_cfg['backbone_lr_mult']
        if isinstance(module, _NORMS):
            decay *= self.paramwise_cfg['norm_decay_mult']
        elif isinstance(module, nn.Embedding) or name.endswith(_TABLES):
            decay *= self.paramwise_cfg['embed_decay_mult']
        return rate, decay
