"""Predictions of some validation pictures, drawn by the suite, for experiment trackers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from PIL import Image

from denseclip.files.names import readable

from .painted_results import painted


@HOOKS.register_module()
class TrackedPicturesHook(Hook):
    """Send the first pictures of every validation to trackers; ``--tracker`` adds the hook.

    Args:
        trackers: Names of rows of :data:`denseclip.engine.trackers.TRACKERS`.
        count: How many pictures.
        side: Longest side that they have.
    """

    priority = 'LOW'

    def __init__(self, trackers: Sequence[str], count: int = 4, side: int = 1024) -> None:
        self.trackers, self.count, self.side = tuple(trackers), count, side
        self._sent = 0

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin anew: the same pictures every time."""
        del runner
        self._sent = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draw the results of a batch, until there are enough."""
        del batch_idx, data_batch
        for sample in outputs or ():
            if self._sent >= self.count or not is_main_process():
                return
            drawn = painted(runner, sample, runner.val_dataloader.dataset)
            if drawn is None:  # captions, features: nothing that can be drawn
                return
            drawn.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
            self._send(runner, readable(Path(sample.img_path).stem), np.asarray(drawn))
            self._sent += 1

    def _send(self, runner: Runner, stem: str, image: np.ndarray) -> None:
        from ..trackers import TRACKERS

        for name in self.trackers:
            tracker = TRACKERS[name]
            for backend in runner.visualizer._vis_backends.values():
                if type(backend).__name__ == tracker.backend:
                    tracker.add_image(backend, f'val/{self._sent}_{stem}', image, runner.iter)
