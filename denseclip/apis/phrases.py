"""Phrases of two things and where they stand to each other: "the man left of the red car", over regions.

Source: ComCLIP (Jiang et al., "ComCLIP: Training-Free Compositional Image and Text Matching", NAACL 2024) takes phrase
and picture apart into subject, object and predicate and matches the parts. Here the parts of a picture are its regions,
and what a relation says is read from where they lie, which CLIP's embeddings hardly hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.inferencer import Inferencer
from denseclip.models.functional.open_vocab import unit_length
from denseclip.models.pixel_samples import labelled_cells

Floats = npt.NDArray[np.float64]
SCALE = 100.0
"""Factor of cosines before a softmax over regions, that of CLIP."""


@dataclass(frozen=True)
class Boxes:
    """Where regions lie.

    Attributes:
        x: Middles of their boxes, (R,), in pixels.
        y: Likewise.
        width: Of their boxes, (R,).
        height: Likewise.
    """

    x: Floats
    y: Floats
    width: Floats
    height: Floats

    @classmethod
    def of(cls, regions: npt.NDArray[np.integer[Any]], count: int) -> Boxes:
        """Boxes of the regions 0 to ``count - 1`` of a map (H, W); those of no pixel are NaN."""
        found = np.full((count, 4), np.nan)
        for number in np.unique(regions[regions >= 0]).tolist():
            rows, columns = np.nonzero(regions == number)
            found[number] = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        left, right, top, bottom = found.T
        return cls((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


def _left(boxes: Boxes) -> Floats:
    """How sure it is that one region lies left of another, 0..1, (R, R)."""
    return _before(boxes.x, boxes.width)


def _above(boxes: Boxes) -> Floats:
    return _before(boxes.y, boxes.height)


def _before(place: Floats, size: Floats) -> Floats:
    """0.5 where middles lie on a line, 0.98 where they are half of both sizes apart."""
    apart = (place[None] - place[:, None]) / np.maximum((size[None] + size[:, None]) / 2, 1)
    return 1 / (1 + np.exp(-8 * apart.clip(-4, 4)))


def _near(boxes: Boxes) -> Floats:
    """1 where boxes touch, less with their distance in sizes."""
    gaps = [
        (np.abs(place[None] - place[:, None]) - (size[None] + size[:, None]) / 2).clip(0)
        for place, size in ((boxes.x, boxes.width), (boxes.y, boxes.height))
    ]
    size = (boxes.width + boxes.height) / 2
    return np.exp(-np.hypot(*gaps) / np.maximum((size[None] + size[:, None]) / 2, 1))


def _inside(boxes: Boxes) -> Floats:
    """Part of one region's box that lies in the other's."""
    shares = [
        (
            np.minimum(place[:, None] + size[:, None] / 2, place[None] + size[None] / 2)
            - np.maximum(place[:, None] - size[:, None] / 2, place[None] - size[None] / 2)
        ).clip(0)
        / np.maximum(size[:, None], 1)
        for place, size in ((boxes.x, boxes.width), (boxes.y, boxes.height))
    ]
    return shares[0] * shares[1]


Relation = Callable[[Boxes], Floats]
RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        'left of': _left,
        'right of': lambda boxes: _left(boxes).T,
        'above': _above,
        'below': lambda boxes: _above(boxes).T,
        'near': _near,
        'inside': _inside,
    }
)
"""What a relation says of the boxes of two regions."""
_SAID = {
    r'(?:to |on |at )?(?:the )?left(?: hand)?(?: side)? of': 'left of',
    r'(?:to |on |at )?(?:the )?right(?: hand)?(?: side)? of': 'right of',
    r'above|over': 'above',
    r'below|under|underneath|beneath': 'below',
    r'next to|beside|near|close to': 'near',
    r'inside|within': 'inside',
}
_LINK = re.compile('|'.join(rf'(?P<r{k}>\b(?:{said})\b)' for k, said in enumerate(_SAID)), re.IGNORECASE)
_ARTICLE = re.compile(r'^(?:the|an?|that is|which is|is)\s+', re.IGNORECASE)


@dataclass(frozen=True)
class Phrase:
    """A phrase in parts.

    Attributes:
        subject: What is looked for, without its article.
        relation: One of :data:`RELATIONS`; empty: none is said.
        object: What it stands to in that relation; empty likewise.
    """

    subject: str
    relation: str = ''
    object: str = ''

    @classmethod
    def parse(cls, text: str) -> Phrase:
        """Read a phrase such as ``the man to the left of the red car``.

        Raises:
            UserError: If it is empty, has two relations, or one without both things.
        """
        text = ' '.join(text.split()).strip(' .')
        links = list(_LINK.finditer(text))
        if len(links) > 1:
            raise UserError(
                f"the phrase '{text}' has {len(links)} relations: say one thing and one relation to another."
            )
        if not links:
            subject, relation, thing = text, '', ''
        else:
            relation = list(_SAID.values())[int(str(links[0].lastgroup)[1:])]
            subject, thing = text[: links[0].start()], text[links[0].end() :]
        subject, thing = _bare(subject), _bare(thing)
        if not subject or (relation and not thing):
            raise UserError(f"the phrase '{text}' lacks a thing: say it as in 'the man left of the red car'.")
        return cls(subject, relation, thing)


def _bare(text: str) -> str:
    """A noun phrase without what stands around it."""
    text = re.sub(r'\s+(?:that|which|who)?\s*(?:is|are|stands?|lies|sits)$', '', text.strip())
    while (shorter := _ARTICLE.sub('', text)) != text:
        text = shorter
    return text.strip()


@dataclass(frozen=True)
class PhraseMatch:
    """What a phrase means in a picture.

    Attributes:
        phrase: As it was understood.
        region: Number of the subject's region.
        object_region: Number of the object's region; None without one.
        scores: How sure it is that each region is the subject, (R,), sums to one.
    """

    phrase: Phrase
    region: int
    object_region: int | None
    scores: Floats


def find_phrase(
    model: Inferencer, image: Any, phrase: str | Phrase, regions: npt.NDArray[np.integer[Any]], read: bool = True
) -> PhraseMatch:
    """Which region of a picture a phrase means.

    Args:
        model: A model whose pixels have embeddings in the space of its words: a training-free preset, CLIP-DINOiser, or
            a DenseCLIP with open words.
        image: The picture, in any form that the model takes (arrays are RGB).
        phrase: ``the man left of the red car``; relations are :data:`RELATIONS` and what else means the same.
        regions: Number of the region of each pixel, from 0; negative: none. From any source: instances, superpixels,
            ``PanopticSegmentation.ids`` ...
        read: Whether the relation is read; else the whole phrase is compared with every region, as CLIP does it.

    Returns:
        The best region, and how sure that is.

    Raises:
        UserError: If the model has no such embeddings, the map is of another size, or no region is large enough.
    """
    model.require_pixel_features()
    picture = Picture.of(image, 'rgb' if isinstance(image, np.ndarray) else None)
    numbers = np.asarray(regions)
    if numbers.shape != picture.rgb.shape[:2] or not np.issubdtype(numbers.dtype, np.integer):
        raise UserError(f'regions is {numbers.dtype} {numbers.shape}; it takes whole numbers {picture.rgb.shape[:2]}.')
    parts = Phrase.parse(phrase) if isinstance(phrase, str) else phrase
    whole = parts.subject if not parts.relation else f'{parts.subject} {parts.relation} {parts.object}'
    texts = [parts.subject, parts.object] if read and parts.relation else [whole]
    logits = _logits(model, picture, numbers, texts)
    if len(texts) == 1:
        return PhraseMatch(parts, int(logits[0].argmax()), None, _softmax(logits[0]))
    with np.errstate(divide='ignore', invalid='ignore'):
        said = np.log(RELATIONS[parts.relation](Boxes.of(numbers, logits.shape[1])))
        pairs = (
            np.log(_softmax(logits[0]))[:, None] + np.log(_softmax(logits[1]))[None] + np.nan_to_num(said, nan=-np.inf)
        )
    np.fill_diagonal(pairs, -np.inf)
    if not np.isfinite(pairs).any():
        raise UserError(f"no two regions stand so that one can be '{whole}'.")
    best = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return PhraseMatch(parts, int(best[0]), int(best[1]), _softmax(pairs.ravel()).reshape(pairs.shape).sum(axis=1))


def _logits(
    model: Inferencer, picture: Picture, regions: npt.NDArray[np.integer[Any]], texts: list[str]
) -> npt.NDArray[np.float64]:
    """Scaled cosines of texts with the mean embedding of each region, (T, R); minus infinity for too small ones."""
    with model.prepared(picture) as (inputs, sample):
        cells = labelled_cells(model.model, inputs, sample, torch.from_numpy(regions.astype(np.int64)))
        owner = model.model if hasattr(model.model, 'embed_texts') else model.model.text
        rows = owner.embed_texts(texts).float().cpu()
    count = int(regions.max()) + 1
    found = np.full((len(texts), max(count, 0)), -np.inf)
    for number in cells.labels.unique().tolist():
        mean = unit_length(cells.features[cells.labels == number].mean(dim=0)[None, :, None, None])[0, :, 0, 0]
        found[:, number] = SCALE * (rows @ mean).double().numpy()
    if not np.isfinite(found).any():
        raise UserError("no region fills a cell of the model's grid: take larger regions, or a larger picture.")
    return found


def _softmax(values: Floats) -> Floats:
    shares = np.exp(values - values.max())
    return shares / shares.sum()
