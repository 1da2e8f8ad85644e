"""Embeddings of the pixels of labelled pictures, as a model itself makes them while it labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Box, Placement, size_of
from denseclip.models.functional.open_vocab import unit_length

from .pixel_head import PixelHead, PixelTexts, Recorder
from .pixel_trail import PixelWindows, frame

MAJORITY = 0.5
"""A cell has the class of more than this part of its pixels, or none."""


@dataclass(frozen=True)
class Cells:
    """Cells of the model's grid that have a class.

    Attributes:
        features: Unit-length embeddings.
        logits: Of the classes by their texts.
        labels: Their classes.
        columns: How far right they lie, 0..1.

    Shape:
        - features: :math:`(n, D)`; logits: :math:`(n, K)`; labels and columns: :math:`(n,)`
    """

    features: Tensor
    logits: Tensor
    labels: Tensor
    columns: Tensor

    def __getitem__(self, chosen: Tensor) -> Cells:
        """Some of them."""
        return Cells(self.features[chosen], self.logits[chosen], self.labels[chosen], self.columns[chosen])

    @classmethod
    def together(cls, parts: list[Cells]) -> Cells:
        """Those of several pictures."""
        names = ('features', 'logits', 'labels', 'columns')
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class LabelledPicture:
    """What a labelled picture shows.

    Attributes:
        cells: Cells with a class.
        regions: Sum of the unit-length embeddings of each class's pixels in the left and in the right half; cells count
            by the pixels of the class in them. None: nobody asked.
        texts: What its pixels were compared with.

    Shape:
        - regions: :math:`(2, K, D)`
    """

    cells: Cells
    regions: Tensor | None = None
    texts: PixelTexts | None = None


@contextmanager
def head_of(model: Any, head: PixelHead | None) -> Iterator[None]:
    """Give a model another head for a while."""
    before = model.pixel_head
    model.pixel_head = head
    try:
        yield
    finally:
        model.pixel_head = before


def passing(model: Any, inputs: Tensor, sample: Any) -> tuple[Placement, list[Box], Iterator[Recorder]]:
    """What passes the head of a model at one picture, window by window.

    Args:
        model: A segmentor with ``has_pixel_features``.
        inputs: The preprocessed picture, (1, 3, H, W).
        sample: Its meta information.

    Returns:
        Where the picture lies in the padded input, the windows over that, and what passes in each.
    """
    placement, boxes, padded = frame(model, inputs, sample)

    def run() -> Iterator[Recorder]:
        with model.viewing(padded, [sample], [placement]):
            for window in model.one_by_one(padded, boxes):
                recorder = Recorder()
                with head_of(model, recorder):
                    model.head_logits(window)
                yield recorder

    return placement, boxes, run()


def labelled_cells(model: Any, inputs: Tensor, sample: Any, truth: Tensor) -> Cells:
    """Cells of one picture that have a class; arguments as for :func:`labelled_picture`."""
    return labelled_picture(model, inputs, sample, truth).cells


def labelled_picture(
    model: Any, inputs: Tensor, sample: Any, truth: Tensor, classes: int | None = None
) -> LabelledPicture:
    """What one labelled picture shows.

    Args:
        model: A segmentor with ``has_pixel_features``.
        inputs: The preprocessed picture.
        sample: Its meta information.
        truth: Class of each pixel of the picture, -1 for none.
        classes: How many there are, for the sums over their regions; None: these are not made.

    Shape:
        - inputs: :math:`(1, 3, H, W)`; truth: :math:`(H', W')`, int64
    """
    placement, boxes, windows = passing(model, inputs, sample)
    labels = _in_input(truth, placement)
    parts, texts, regions = [], None, None
    for box, seen in zip(boxes, windows, strict=True):
        assert seen.features is not None and seen.logits is not None
        top, bottom, left, right = box
        features, known, chosen = _cells_of(seen.features[0], labels, box)
        grid = size_of(seen.features)
        centres = left + (torch.arange(grid[1], device='cpu') + 0.5) * (right - left) / grid[1]
        columns = (centres / labels.shape[1]).repeat(grid[0])
        logits = seen.logits[0].flatten(1).T[chosen]
        parts.append(Cells(features, logits.float().cpu(), known, columns[chosen.cpu()]))
        texts = seen.texts
        if classes is not None:
            sides = torch.stack([columns < 0.5, columns >= 0.5]).float()
            sums = class_sums(seen.features[0], labels[top:bottom, left:right], classes, sides).cpu()
            regions = sums if regions is None else regions + sums
    return LabelledPicture(Cells.together(parts), regions, texts)


def class_sums(features: Tensor, labels: Tensor, classes: int, sides: Tensor) -> Tensor:
    """Sum of the unit-length embeddings of each class; cells count by the pixels of the class in them.

    Args:
        features: Of the cells, of any length.
        labels: Class of each pixel under them, -1 for none.
        classes: K.
        sides: How much each cell counts for each part of the picture.

    Shape:
        - features: :math:`(D, h, w)`; labels: :math:`(H, W)`; sides: :math:`(S, hw)`; result: :math:`(S, K, D)`
    """
    shares = _pixels_of(labels, size_of(features), classes)[:, 1:].to(features.device, torch.float32)
    unit = unit_length(features.float()[None])[0].flatten(1).T
    weighted = shares.T * sides.to(features.device)[:, None]
    return weighted @ unit


def _cells_of(features: Tensor, labels: Tensor, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of a window (D, h, w) that have a class: unit-length embeddings, their classes, and which cells they are.

    Embeddings and classes lie on the CPU; ``labels`` are those of the whole padded input.
    """
    top, bottom, left, right = box
    known = majority(labels[top:bottom, left:right], size_of(features)).flatten()
    keep = (known >= 0).nonzero()[:, 0]
    chosen = keep.to(features.device)
    rows = features.float().flatten(1).T[chosen]
    return unit_length(rows[:, :, None, None])[..., 0, 0].cpu(), known[keep], chosen


def _in_input(truth: Tensor, placement: Placement) -> Tensor:
    """Classes of a picture's pixels where they lie in the network's input, -1 in its padding."""
    assert placement.padded is not None and placement.valid is not None and placement.out is not None
    canvas = truth.new_full(placement.out, -1)  # strips were extended
    canvas[: truth.shape[0], : truth.shape[1]] = truth
    top, bottom, left, right = placement.valid
    rows = _nearest(bottom - top, canvas.shape[0])
    columns = _nearest(right - left, canvas.shape[1])
    labels = truth.new_full(placement.padded, -1)
    labels[top:bottom, left:right] = placement.turn_back(canvas)[rows][:, columns]
    return labels


def _nearest(count: int, length: int) -> Tensor:
    """For each of ``count`` places the nearest of ``length``."""
    return ((torch.arange(count, device='cpu') + 0.5) * length / count).long()


def majority(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Class of each cell of a grid over a label map: that of more than :data:`MAJORITY` of its pixels, or -1.

    Shape:
        - labels: :math:`(H, W)`, int64, -1 for no class; result: ``grid``
    """
    counts = _pixels_of(labels, grid, int(labels.max().clamp_min(0)) + 1)
    most, best = counts.max(dim=1)
    sure = most > MAJORITY * counts.sum(dim=1)
    return torch.where(sure, best - 1, -1).view(grid)


def _pixels_of(labels: Tensor, grid: tuple[int, int], classes: int) -> Tensor:
    """Pixels of no class and of each class in each cell of a grid over a label map, (hw, 1 + K)."""
    height, width = labels.shape
    rows, columns = (
        torch.arange(side, device=labels.device) * cells // side
        for side, cells in zip((height, width), grid, strict=True)
    )
    cell = (rows[:, None] * grid[1] + columns).flatten()
    wide = classes + 1
    counts = torch.bincount(cell * wide + labels.flatten() + 1, minlength=grid[0] * grid[1] * wide)
    return counts.view(-1, wide)


def description_rows(model: Any, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """Unit-length embeddings (S, E) of the descriptions of each class that has some; once for all pictures."""
    encode = (model if hasattr(model, 'embed_texts') else model.text).embed_texts
    return {c.name: encode(c.prompts).float().cpu() for c in vocabulary.classes if c.descriptors}


def fired_descriptions(
    windows: PixelWindows,
    labels: Tensor,
    vocabulary: Vocabulary,
    rows: Mapping[str, Tensor],
    most: int = 3,
) -> dict[str, list[tuple[str, float]]]:
    """Which descriptions of each class that was found its pixels are most like.

    Args:
        windows: Embeddings of the picture's pixels, kept while it was labelled.
        labels: Its label map, (H', W'), int64.
        vocabulary: What the labels are; classes without descriptors are left out.
        rows: See :func:`description_rows`.
        most: Descriptions of each class, at most.

    Returns:
        By class the descriptions and their cosines with the mean of its pixels, best first.
    """
    known = torch.where(labels < len(vocabulary), labels, -1)
    places = _in_input(known, windows.placement)
    parts = [_cells_of(f, places, box)[:2] for box, f in zip(windows.boxes, windows.features, strict=True)]
    features, owners = (torch.cat(part) for part in zip(*parts, strict=True))
    found: dict[str, list[tuple[str, float]]] = {}
    for label, entry in enumerate(vocabulary.classes):
        mine = features[owners == label]
        if entry.name not in rows or not len(mine):
            continue
        scores = rows[entry.name] @ unit_length(mine.mean(dim=0)[None, :, None, None])[0, :, 0, 0]
        best = scores.argsort(descending=True)[:most].tolist()
        found[entry.name] = [(entry.descriptors[k], round(float(scores[k]), 4)) for k in best]
    return found
