"""The order of operations of the training-free methods' own code, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from denseclip.clip.blocks import run_block
from denseclip.clip.towers import TowerOutput, ViTTower

from .patching import wrapped

PLAIN_MEANS = (
    'all blocks and the pooled embedding computed although only the changed last block is read, that block read twice, '
    'one window at a time, K planes resized to every window and again to the picture'
)


def is_open_vocabulary(model: Any) -> bool:
    """Whether a model is one of the open-vocabulary segmentors."""
    return hasattr(model, 'class_scores') and hasattr(model, 'tower')


@contextmanager
def plain_open_vocabulary(model: Any) -> Iterator[None]:
    """Run an open-vocabulary model as the reference code does, as long as the context lasts."""
    before = model.keep_logits, dict(model.test_cfg)
    model.keep_logits = True
    model.test_cfg['window_batch'] = 1
    with ExitStack() as stack:
        if isinstance(model.tower, ViTTower) and not model.tower.read_out.as_trained:
            stack.enter_context(wrapped(model.tower, 'forward', lambda forward: _whole_tower(model.tower, forward)))
        try:
            yield
        finally:
            model.keep_logits = before[0]
            model.test_cfg.clear()
            model.test_cfg.update(before[1])


def _whole_tower(tower: ViTTower, forward: Callable[..., TowerOutput]) -> Callable[..., TowerOutput]:
    """The tower's forward, preceded by what the reference code computes besides."""

    def run(images: Tensor, guide: Any = None) -> TowerOutput:
        out = forward(images, guide)
        assert out.tokens is not None and out.grid is not None
        x = out.tokens
        for block in tower.visual.transformer.resblocks[-tower.read_out.layers :]:
            x = run_block(block, x)
        tower.pool(x)
        tower.read_dense(out.tokens, out.grid, guide)
        return out

    return run
