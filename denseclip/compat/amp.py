"""Mixed precision: bfloat16 where there is no accelerator, and the right optimizer wrapper for the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from denseclip.compat.distributed import has_accelerator

_FLAGS = ('flags', 'Features')  # x86 and ARM
_BFLOAT16_FLAGS = frozenset({'avx512_bf16', 'amx_bf16', 'bf16', 'svebf16'})
_CUDA_ONLY = ('loss_scale', 'use_fsdp', 'dtype')


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Train with bfloat16 autocast on the CPU (or on Apple's GPU).

    mmengine's ``AmpOptimWrapper`` refuses to run on these. bfloat16 has the exponent range of float32,
    so no loss scaling is needed.

    Args:
        dtype: Type to autocast to, or its name.
        **kwargs: Arguments of :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: If ``dtype`` is not bfloat16: float16 would need loss scaling, and has no fast kernels here.
    """

    def __init__(self, dtype: str | torch.dtype = torch.bfloat16, **kwargs: Any) -> None:
        if dtype not in (torch.bfloat16, 'bfloat16'):
            raise ValueError(f'CPUAmpOptimWrapper trains in bfloat16 only, not {dtype}; leave dtype out')
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast the forward pass (and skip gradient synchronisation while accumulating).

        Args:
            model: The model being trained.
        """
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def lacks_bfloat16_units(cpuinfo: str | Path = '/proc/cpuinfo') -> bool:
    """Whether bfloat16 is known to be slow here: on a CPU whose flags name no unit that computes in it.

    Args:
        cpuinfo: What Linux tells of its processors; where there is no such file, nothing is known.
    """
    if has_accelerator():
        return False
    try:
        text = Path(cpuinfo).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return False
    flags = {flag for line in text.splitlines() if line.startswith(_FLAGS) for flag in line.partition(':')[2].split()}
    return bool(flags) and not flags & _BFLOAT16_FLAGS


def amp_wrapper_type() -> str:
    """Name of the optimizer wrapper for mixed precision on this machine."""
    return 'AmpOptimWrapper' if has_accelerator() else CPUAmpOptimWrapper.__name__


def enable_amp(optim_wrapper: dict[str, Any], dtype: torch.dtype | None = None) -> None:
    """Turn an optimizer wrapper's configuration into one for mixed precision, in place.

    A configuration that asks for mixed precision already keeps its settings as far as the machine has them; a loss
    scale that was meant for another type than ``dtype`` goes. bfloat16 is not scaled: it has the range of float32.

    Args:
        optim_wrapper: The ``optim_wrapper`` of a config.
        dtype: Type to compute in; None: the machine's usual one, or what the configuration asks for.

    Raises:
        ValueError: If its type is neither a plain nor a mixed-precision wrapper.
    """
    current = optim_wrapper.get('type', 'OptimWrapper')
    if current not in ('OptimWrapper', 'AmpOptimWrapper', CPUAmpOptimWrapper.__name__):
        raise ValueError(
            f"mixed precision cannot be switched on for optim_wrapper type '{current}'; "
            f"use 'OptimWrapper', or set the type in the config instead of asking for it on the command line"
        )
    wanted = amp_wrapper_type()
    optim_wrapper['type'] = wanted
    if wanted == 'AmpOptimWrapper':
        configured = str(optim_wrapper.get('dtype') or torch.float16).removeprefix('torch.')
        used = configured if dtype is None else str(dtype).removeprefix('torch.')
        if dtype is not None:
            if used != configured or dtype == torch.bfloat16:
                optim_wrapper.pop('loss_scale', None)
            optim_wrapper['dtype'] = used
        if used == 'bfloat16':
            optim_wrapper.setdefault('loss_scale', {'enabled': False})
        optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        for key in _CUDA_ONLY:
            optim_wrapper.pop(key, None)


def disable_amp(optim_wrapper: dict[str, Any]) -> None:
    """Turn an optimizer wrapper's configuration for mixed precision into a plain one, in place; others stay.

    Args:
        optim_wrapper: The ``optim_wrapper`` of a config.
    """
    if optim_wrapper.get('type') in ('AmpOptimWrapper', CPUAmpOptimWrapper.__name__):
        optim_wrapper['type'] = 'OptimWrapper'
        for key in _CUDA_ONLY:
            optim_wrapper.pop(key, None)
