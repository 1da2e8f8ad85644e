"""Stop at the first loss that is NaN or infinite, and say which images, iteration and learning rate made it."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor


class NonFiniteLossError(RuntimeError):
    """A training loss is NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Raise :class:`NonFiniteLossError` before a checkpoint of the broken weights could be written.

    Args:
        interval: Check every so many iterations. MMEngine reads each loss back every iteration anyway, so that 1 adds
            nothing measurable.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f'NonFiniteLossHook: interval must be at least 1, got {interval}')
        self.interval = interval

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Check the losses of this iteration."""
        if not outputs or (runner.iter + 1) % self.interval:
            return
        values = {name: _number(value) for name, value in outputs.items()}
        broken = {name: value for name, value in values.items() if value is not None and not math.isfinite(value)}
        if broken:
            raise NonFiniteLossError(self._describe(runner, broken, values, data_batch))

    def _describe(
        self, runner: Runner, broken: dict[str, float], values: dict[str, float | None], data_batch: Any
    ) -> str:
        finite = ', '.join(
            f'{name}={value:.4g}' for name, value in values.items() if name not in broken and value is not None
        )
        rates = sorted({float(lr) for group in runner.optim_wrapper.get_lr().values() for lr in group})
        files = image_files(data_batch)
        return '\n'.join(
            [
                f'loss is not finite at iteration {runner.iter + 1}: '
                + ', '.join(f'{name}={value}' for name, value in broken.items()),
                f'  finite values: {finite or "none"}',
                f'  learning rates: {", ".join(f"{rate:.3g}" for rate in rates)}',
                f'  images of the batch: {", ".join(files) or "unknown (the samples carry no img_path)"}',
                '  Look at these images and labels first (denseclip check CONFIG); then lower the learning rate, '
                'lengthen the warm-up or set optim_wrapper.clip_grad. The last checkpoint is older than this '
                'iteration: continue with --resume.',
            ]
        )


def image_files(data_batch: Any) -> list[str]:
    """File names of a batch's images, where its data samples know them."""
    samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
    paths = [getattr(sample, 'metainfo', {}).get('img_path') for sample in samples]
    return [str(path) for path in paths if path]


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    return float(value) if isinstance(value, int | float) else None
