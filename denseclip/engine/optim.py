"""Optimizers for models that are mostly frozen."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor without the modules that learn nothing.

    MMEngine visits every parameter and warns of each frozen one: hundreds of lines for two convolutions beside a frozen
    CLIP and its teachers. Same arguments, same groups for what is trained.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add the parameter groups of a module, unless all of it is frozen."""
        parameters: Any = module.parameters()
        if any(parameter.requires_grad for parameter in parameters):
            super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)
