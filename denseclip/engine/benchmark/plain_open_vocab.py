"""The order of operations of the training-free methods' own code, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.blocks import run_block
from denseclip.clip.towers import TowerOutput, ViTTower
from denseclip.core.placement import Box, Placement, size_of, slide_boxes
from denseclip.models.functional.label_map import Size
from denseclip.models.functional.open_vocab import merge_names, region_labels
from denseclip.models.functional.propagation import Propagation, propagate
from denseclip.models.segmentors.post_processing import class_probabilities
from denseclip.models.segmentors.score_maps import ScoreMaps

from .patching import wrapped

PLAIN_MEANS = (
    'all blocks and the pooled embedding computed although only the changed last block is read, that block read twice, '
    'one window at a time, K planes resized to every window, padded to the picture and added up, their mean resized to '
    'the picture, softmax over the classes, argmax'
)


def is_open_vocabulary(model: Any) -> bool:
    """Whether a model is one of the open-vocabulary segmentors."""
    return hasattr(model, 'class_scores') and hasattr(model, 'tower')


@contextmanager
def plain_open_vocabulary(model: Any) -> Iterator[None]:
    """Run an open-vocabulary model as the reference code does, as long as the context lasts."""
    before = model.keep_logits
    model.keep_logits = True
    with ExitStack() as stack:
        stack.enter_context(wrapped(model, '_results', lambda _: _plain_results(model)))
        if isinstance(model.tower, ViTTower) and not model.tower.read_out.as_trained:
            stack.enter_context(wrapped(model.tower, 'forward', lambda forward: _whole_tower(model.tower, forward)))
        try:
            yield
        finally:
            model.keep_logits = before


def _plain_results(model: Any) -> Callable[..., Iterator[tuple[Tensor, Tensor, None]]]:
    """Labels and scores of every picture, all planes in full size at every step; no scores of words."""

    def run(inputs: Tensor, samples: Sequence[SegDataSample], scored: bool) -> Iterator[tuple[Tensor, Tensor, None]]:
        del scored
        slide = model.test_cfg.mode == 'slide'
        padded = inputs if model.stretch else model.pad(inputs, model.test_cfg.crop_size if slide else None)
        for i, sample in enumerate(samples):
            picture = padded[i : i + 1]
            placement = Placement.of(sample.metainfo, size_of(inputs), size_of(padded))
            regions = model.regions_of(picture[0], placement, sample)
            with model.viewing(picture, [sample], [placement], [regions]):
                full = _full(model, picture, placement, slide)
            # The reference resizes even where the size is right already, and refines in the picture's own size.
            size = placement.result_size(full)
            scores, seen = (_resize(placement.cut(planes), size) for planes in (full, picture))
            if model.post.propagation is not None:
                how, text = Propagation(**model.post.propagation), model.class_embeddings().embeddings
                scores = propagate(seen, scores, text, how)
            scores = model.post.refine(scores[0], seen[0])
            labels, scores = _labels(model, scores)
            yield labels if regions is None else region_labels(labels, regions, model.num_classes), scores, None

    return run


def _full(model: Any, picture: Tensor, placement: Placement, slide: bool) -> Tensor:
    """Scores (1, K, H, W) of a padded picture, of all of it at once or of windows."""
    size = size_of(picture)
    boxes = slide_boxes(size, model.test_cfg.crop_size, model.test_cfg.stride) if slide else None
    windows = _windows(model, picture, boxes)
    if model.spread is not None:
        maps = ScoreMaps([scores[0] for scores in windows], boxes)
        found = model.spread(maps, picture[0], model.affinity, model.tower.preprocess, placement)
        boxes, windows = found.boxes, (scores[None] for scores in found.maps)
    return _resize(next(windows), size) if boxes is None else _mean(windows, boxes, size)


def _windows(model: Any, picture: Tensor, boxes: Sequence[Box] | None) -> Iterator[Tensor]:
    if boxes is None:
        yield model.head_logits(picture)
        return
    if model.join is not None:  # no reference runs such windows one by one
        for logits, _ in model._windows(picture)[1]:
            yield from logits.split(1)
        return
    for top, bottom, left, right in boxes:
        model.look_at([(top, bottom, left, right)])
        yield model.head_logits(picture[:, :, top:bottom, left:right])


def _mean(windows: Iterator[Tensor], boxes: Sequence[Box], size: Size) -> Tensor:
    """MMSegmentation's ``slide_inference``: mean of the windows' scores, (1, K, H, W)."""
    height, width = size
    total: Any = 0
    count: Any = None
    for scores, (top, bottom, left, right) in zip(windows, boxes, strict=True):
        scores = _resize(scores, (bottom - top, right - left))
        if count is None:
            total, count = scores.new_zeros(1, scores.shape[1], *size), scores.new_zeros(1, 1, *size)
        total += F.pad(scores, (left, width - right, top, height - bottom))
        count[:, :, top:bottom, left:right] += 1
    return total / count


def _resize(scores: Tensor, size: Size) -> Tensor:
    return F.interpolate(scores, size=size, mode='bilinear', align_corners=False)


def _labels(model: Any, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the classes, then labels; thresholds as the model has them."""
    text, threshold = model.class_embeddings(), model.vocabulary.least_score
    # A softmax keeps the order, up to ties that its rounding makes: labels are taken before it (of averaged
    # probabilities, which go through another one there, it only costs time).
    by_scores = threshold is None and not model.post.needs_scores
    if model._gives_probabilities:
        if by_scores:
            return scores.argmax(dim=0), scores.softmax(dim=0)
        return model.post.labels(scores, threshold, model._background_label(threshold))
    shares = class_probabilities(scores, text, model.scale)
    labels, shares = model.post.labels(shares, threshold, model._background_label(threshold))
    if by_scores:
        by_class = scores if text.merge == 'mean' else merge_names(scores, text.class_index, len(text))
        labels = by_class.argmax(dim=0)
    return labels, shares


def _whole_tower(tower: ViTTower, forward: Callable[..., TowerOutput]) -> Callable[..., TowerOutput]:
    """The tower's forward, preceded by what the reference code computes besides."""

    def run(images: Tensor, guide: Any = None) -> TowerOutput:
        out = forward(images, guide)
        assert out.tokens is not None and out.grid is not None
        x = out.tokens
        for block in tower.visual.transformer.resblocks[-tower.read_out.layers :]:
            x = run_block(block, x)
        tower.pool(x)
        tower.read_dense(out.tokens, out.grid, guide, out.notes, out.branches)
        return out

    return run
