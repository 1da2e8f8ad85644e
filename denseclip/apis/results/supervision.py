"""Results as ``supervision.Detections``, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.results.base import Result
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization.palette import palette_for

if TYPE_CHECKING:
    from denseclip.apis.detection import Detections
    from denseclip.apis.panoptic import PanopticSegmentation
    from denseclip.apis.segmentation import Segmentation

NAMES = 'class_names'
"""Key of the metadata that says all names, those of classes that were not found among them."""


def to_supervision(result: Result) -> Any:
    """See :meth:`Result.to_supervision`."""
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "to_supervision() needs the package supervision: pip install 'denseclip-suite[supervision]'"
        ) from error

    regions = list(result.regions())
    masks = [region.mask for region in regions if region.mask is not None]
    scores = [np.nan if region.score is None else region.score for region in regions]
    labels = np.array([region.label for region in regions], dtype=int)
    data: dict[str, Any] = {'class_name': np.array([result.names[label] for label in labels], dtype=str)}
    if result.kind == 'panoptic':
        data['is_thing'] = np.array([bool(region.is_thing) for region in regions], dtype=bool)
    return supervision.Detections(
        xyxy=np.array([region.box for region in regions], dtype=np.float32).reshape(-1, 4),
        mask=np.stack(masks) if masks and len(masks) == len(regions) else None,
        confidence=None if np.isnan(scores).all() else np.array(scores, dtype=np.float32),
        class_id=labels,
        data=data,
        metadata={NAMES: list(result.names)},
    )


def instances(
    found: Any, image: np.ndarray, names: Sequence[str] | None = None, source: Path | None = None
) -> Detections:
    """See :meth:`Detections.from_supervision`."""
    from denseclip.apis.detection import Detections

    labels, words = _classes(found, names)
    scores = np.ones(len(labels), np.float32) if found.confidence is None else found.confidence
    order = np.argsort(-np.asarray(scores, np.float32), kind='stable')
    masks = _masks(found, image)
    return Detections(
        np.asarray(found.xyxy, np.float32)[order],
        labels[order],
        np.asarray(scores, np.float32)[order],
        None if masks is None else masks[order],
        words,
        palette_for(words),
        image,
        source,
    )


def panoptic(found: Any, image: np.ndarray, words: Any = None, source: Path | None = None) -> PanopticSegmentation:
    """See :meth:`AreaResult.from_supervision`."""
    from denseclip.apis.panoptic import PanopticSegmentation

    labels, vocabulary, masks = _areas(found, image, words)
    things = found.data.get('is_thing', np.ones(len(labels), bool))
    ids = np.zeros(image.shape[:2], np.int32)
    info: list[Mapping[str, Any]] = []
    for place in _rising(found):
        ids[masks[place]] = place + 1
    for place, label in enumerate(labels.tolist()):
        score = 1.0 if found.confidence is None else float(found.confidence[place])
        entry = {'id': place + 1, 'category_id': label, 'isthing': bool(things[place]), 'score': score}
        info.append(entry)
    palette = palette_for(vocabulary.names)
    return PanopticSegmentation.of(ids, info, vocabulary, palette, image, source)


def semantic(found: Any, image: np.ndarray, words: Any = None, source: Path | None = None) -> Segmentation:
    """See :meth:`AreaResult.from_supervision`; pixels of none are background, or ``nothing``."""
    from denseclip.apis.segmentation import BACKGROUND_NAME, NOTHING_NAME, Segmentation

    labels, vocabulary, masks = _areas(found, image, words, apart=(BACKGROUND_NAME, NOTHING_NAME))
    label_map = np.full(image.shape[:2], len(vocabulary), np.int32)
    for place in _rising(found):
        label_map[masks[place]] = labels[place]
    scores = None
    if found.confidence is not None:
        scores = np.full(len(vocabulary), np.nan, np.float32)
        for label, score in zip(labels.tolist(), found.confidence.tolist(), strict=True):
            scores[label] = score if np.isnan(scores[label]) else max(score, scores[label])
    palette = palette_for(vocabulary.names, background=vocabulary.background != 'none')
    small = label_map.astype(np.uint8) if len(vocabulary) < 255 else label_map
    return Segmentation(small, vocabulary, palette, image, source, scores=scores)


AREAS: dict[str, Callable[..., Any]] = {'semantic': semantic, 'panoptic': panoptic}
"""Results of areas by their kind."""


def _areas(
    found: Any, image: np.ndarray, words: Any, apart: Sequence[str] = ()
) -> tuple[np.ndarray, Vocabulary, np.ndarray]:
    """Labels, classes and masks; masks alone tell the pixels of a picture."""
    labels, names = _classes(found, None if words is None else Vocabulary.of(words).names)
    masks = _masks(found, image)
    if masks is None and len(labels):
        raise UserError('these detections are boxes without masks: take Detections.from_supervision.')
    if words is None:
        words = [name for place, name in enumerate(names) if not (place == len(names) - 1 and name in apart)]
    vocabulary = Vocabulary.of(words)
    return labels, vocabulary, np.zeros((0, *image.shape[:2]), bool) if masks is None else masks


def _classes(found: Any, names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label of each object, and all names in label order."""
    if found.class_id is None and len(found):
        raise UserError('these detections have no class_id; give one to each.')
    labels = np.zeros(0, int) if found.class_id is None else np.asarray(found.class_id, int)
    known = found.metadata.get(NAMES) if names is None else names
    if known is None:
        said = dict(zip(labels.tolist(), found.data.get('class_name', ()), strict=False))
        known = [str(said.get(label, f'class {label}')) for label in range(labels.max(initial=-1) + 1)]
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(known):
        raise UserError(f'these detections have the class {labels.max()}, but there are {len(known)} names.')
    return labels, tuple(str(name) for name in known)


def _masks(found: Any, image: np.ndarray) -> np.ndarray | None:
    if found.mask is None:
        return None
    masks = np.asarray(found.mask, bool)
    if masks.shape[1:] != image.shape[:2]:
        raise UserError(f'these masks are of {masks.shape[1:]} pixels, the picture of {image.shape[:2]}.')
    return masks


def _rising(found: Any) -> list[int]:
    """Objects from the least sure to the surest: where they overlap, the last one stays."""
    if found.confidence is None:
        return list(range(len(found)))
    return np.argsort(np.nan_to_num(found.confidence), kind='stable').tolist()
