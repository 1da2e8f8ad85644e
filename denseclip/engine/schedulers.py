"""Learning-rate schedules of mmcv 1.x, exact: a linear warm-up that multiplies the schedule's current value."""

from __future__ import annotations

from typing import Any

from mmengine.optim import PolyLR
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(PolyLR):
    """Polynomial decay to ``eta_min`` with a linear warm-up on top, per iteration.

    ``lr(i) = [(base - eta_min) * (1 - i / end) ** power + eta_min] * [1 - (1 - i / warmup) * (1 - warmup_ratio)]``, the
    second factor for ``i < warmup`` only (DenseCLIP's recipe under mmcv 1.x). MMEngine's LinearLR followed by PolyLR
    multiplies step by step and drifts from this by 0.2 %, far more for groups whose base rate is 0: those rise to
    ``eta_min``, here as in the authors' schedule.

    Args:
        optimizer: optimizer or optimizer wrapper.
        warmup: iterations of warm-up.
        warmup_ratio: factor at iteration 0.
        by_epoch: count epochs instead of iterations.
        *args: positional arguments of MMEngine's ``PolyLR``.
        **kwargs: ``power``, ``eta_min``, ``begin``, ``end`` and ``last_step`` of MMEngine's ``PolyLR``.
    """

    def __init__(
        self,
        optimizer: Any,
        *args: Any,
        warmup: int = 0,
        warmup_ratio: float = 1e-6,
        by_epoch: bool = False,
        **kwargs: Any,
    ) -> None:
        self.warmup, self.warmup_ratio = warmup, warmup_ratio
        super().__init__(optimizer, *args, by_epoch=by_epoch, **kwargs)

    def _get_value(self) -> list[float]:
        step, total = self.last_step, self.end - self.begin
        decay = (1 - min(step, total) / total) ** self.power
        warm = 1.0 if step >= self.warmup else 1 - (1 - step / self.warmup) * (1 - self.warmup_ratio)
        return [((base - self.eta_min) * decay + self.eta_min) * warm for base in self.base_values]
