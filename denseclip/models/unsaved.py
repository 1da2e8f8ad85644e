"""Frozen parts that come from a source of their own are left out of checkpoints."""

from __future__ import annotations

from typing import Any

from torch import nn

from denseclip.core.lazy_weights import tensors_under


def leave_out_of_checkpoints(module: nn.Module) -> None:
    """Drop the parts named by ``module.not_saved_prefixes`` from its state dict; strict loading does without them.

    Args:
        module: Has ``not_saved_prefixes``, prefixes of parameter names relative to itself (``('',)`` for all of them),
            and may have ``prepare_unsaved()``, which is called before a load that brings none of these parts.
    """
    module.register_state_dict_post_hook(_drop)
    module.register_load_state_dict_pre_hook(_supply)


def _drop(module: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    unsaved = tuple(prefix + part for part in module.not_saved_prefixes)
    for key in [key for key in state if key.startswith(unsaved)]:
        del state[key]


def _supply(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    unsaved = tuple(prefix + part for part in module.not_saved_prefixes)
    if not unsaved or any(key.startswith(unsaved) for key in state if key.startswith(prefix)):
        return
    if hasattr(module, 'prepare_unsaved'):
        module.prepare_unsaved()
    state.update({prefix + name: value for name, value in tensors_under(module, module.not_saved_prefixes).items()})
