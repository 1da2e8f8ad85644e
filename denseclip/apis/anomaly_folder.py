"""Inspect many pictures: one calibration for all of them, thresholds, measures where labels are known."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from denseclip.apis.anomaly_calibration import EVEN, FEW, Calibration
from denseclip.apis.anomaly_predictor import AnomalyPredictor
from denseclip.apis.anomaly_result import LIMIT, AnomalyResult
from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.errors import UserError
from denseclip.apis.images import UnreadableImageError, read_image
from denseclip.apis.inputs import expand_inputs
from denseclip.apis.pipeline import Outcome, outcomes
from denseclip.datasets.anomaly_layouts import (
    NORMAL_NAMES,
    check_no_report,
    folder_mask_places,
    list_folder,
    magnetic_tile_folders,
)
from denseclip.datasets.anomaly_masks import read_mask
from denseclip.datasets.anomaly_pairs import MaskFinder, split_pairs, strays
from denseclip.datasets.files import UnreadableFileError
from denseclip.evaluation.anomaly import BinnedPixels, check_pair, curve_of, f1_max, image_measures, pixel_measures
from denseclip.evaluation.anomaly.measures import IMAGE_MEASURES
from denseclip.files.names import readable
from denseclip.files.pictures import files_of, image_suffixes
from denseclip.files.scratch import ScratchFolder
from denseclip.visualization.anomaly_pictures import boxes_of

KEPT_SIDE = 1024
"""Long side at which maps wait on disk for their calibration; they come from a coarse patch grid and are smooth."""
_NAMED = 3  # masks that a note names


@dataclass(frozen=True)
class Item:
    """A picture to inspect.

    Attributes:
        path: Its file.
        label: Whether it shows a defect; None where nobody said. A mask says it, too, once it is read.
        defect: Kind of defect, by the name of its folder.
        mask: File of its mask, if any.
        threshold: Grey value above which a pixel of the mask is defective; None: by the mask's values.
    """

    path: Path
    label: bool | None = None
    defect: str = ''
    mask: Path | None = None
    threshold: int | None = None


@dataclass(frozen=True)
class Thresholds:
    """Calibrated scores from which on a picture, or a pixel, counts as anomalous."""

    picture: float = LIMIT
    pixel: float = LIMIT
    how: str = 'auto: three standard deviations above the usual score'


@dataclass
class Inspection:
    """All pictures of a run, their raw scores, and what is the same for all of them.

    Attributes:
        items: Pictures that could be read.
        raw: Raw score of each.
        failures: Why others could not be read.
        pictures: Calibration of picture scores.
        pixels: Calibration of pixel scores.
        thresholds: In calibrated scores.
        measures: Measures 0..1 against the labels, NaN where not defined; empty without labels.
        notes: Why measures are not defined, and what was left out, a line each.
        told_by: Who has said what is usual, where models compare pictures with pictures.
        method: How defects were looked for, and why so; ``''`` where nobody asked.
        namer: Finds words for the areas of a flagged picture.
        scratch: Temporary folder of the maps.
    """

    items: list[Item] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    failures: list[UnreadableImageError] = field(default_factory=list)
    pictures: Calibration = field(default_factory=lambda: Calibration.of_scores([]))
    pixels: Calibration = field(default_factory=lambda: Calibration.of_scores([]))
    thresholds: Thresholds = field(default_factory=Thresholds)
    measures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    told_by: str = ''
    method: str = ''
    namer: Callable[[AnomalyResult], tuple[tuple[tuple[str, float], ...], ...]] | None = None
    scratch: ScratchFolder | None = None

    @property
    def chance(self) -> str:
        """That the scores tell good from defective no better than chance would, in a sentence; ``''`` if they do.

        One-sided, at 95 %: how far the AUROC of pictures in a random order strays (Mann and Whitney).
        """
        value = self.measures.get('image_AUROC', math.nan)
        bad = sum(bool(item.label) for item in self.items)
        good = len(self.items) - bad
        if math.isnan(value) or value - 1.645 * math.sqrt((good + bad + 1) / (12 * good * bad)) > 0.5:
            return ''
        return (
            f'no better than chance: with {good} good and {bad} defective pictures an image AUROC of '
            f'{100 * value:.1f} % says nothing; try more good pictures, another trunk or method.'
        )

    @property
    def scores(self) -> np.ndarray:
        """Calibrated scores of the pictures."""
        return self.pictures(np.array(self.raw, dtype=np.float64))

    def order(self) -> list[int]:
        """Pictures, highest raw score first; equal ones by name."""
        return sorted(range(len(self.items)), key=lambda i: (-self.raw[i], str(self.items[i].path)))

    def map_file(self, index: int) -> Path:
        """Where the map of a picture waits.

        Raises:
            ValueError: After :meth:`close`.
        """
        if self.scratch is None:
            raise ValueError('the inspection is closed, its maps are gone')
        return self.scratch.path / f'{index}.npy'

    def result(self, index: int) -> AnomalyResult:
        """Everything about one picture; reads it and its map again."""
        image = read_image(self.items[index].path, 'rgb')
        small = np.load(self.map_file(index))
        full = small
        if small.shape != image.shape[:2]:
            full = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        flagged = bool(self.pictures(self.raw[index]) >= self.thresholds.picture)
        result = AnomalyResult(
            full, self.raw[index], image, self.items[index].path, self.pixels, self.pictures, self.thresholds.pixel
        )
        result = agreeing(result, flagged)
        return replace(result, words=self.namer(result)) if flagged and self.namer is not None else result

    def summary(self) -> str:
        """Calibration, thresholds and measures as JSON."""
        content = dict(
            pictures=len(self.items),
            method=self.method,
            unreadable=[readable(failure) for failure in self.failures],
            notes=self.notes,
            calibration=dict(pictures=asdict(self.pictures), pixels=asdict(self.pixels)),
            thresholds=asdict(self.thresholds),
            measures={k: None if math.isnan(v) else v for k, v in self.measures.items()},
        )
        return json.dumps(content, indent=1, ensure_ascii=False) + '\n'

    def close(self) -> None:
        """Delete the waiting maps."""
        if self.scratch is not None:
            self.scratch.close()
            self.scratch = None


def agreeing(result: AnomalyResult, flagged: bool) -> AnomalyResult:
    """The result with a threshold of pixels that agrees with the verdict.

    A flagged picture shows its hottest area even where no pixel is beyond the common threshold; one that is not
    flagged shows none, since pixel scores of good pictures pass that threshold here and there.
    """
    scores = result.score_map  # of all thresholds
    if not flagged:
        peak = float(scores.max())
        return replace(result, anomalous=False, threshold=max(result.threshold, (1 + peak) / 2))
    found = replace(result, anomalous=True)
    for share in (0.995, 0.98, 0.95, 0.9, 0.0):
        if boxes_of(found.mask(), scores):
            break
        level = float(result.pixels(float(np.quantile(result.anomaly_map, share))))
        found = replace(found, threshold=min(found.threshold, np.nextafter(level, 0)))
    return found


def items_in(folder: str | Path) -> list[Item]:
    """Pictures of a folder and what is known about them.

    Pictures directly in the folder are taken without labels, and its sub-folders are read, as
    :func:`~denseclip.datasets.anomaly_layouts.list_folder` does; their names are labels if one of them says "normal".
    Masks are looked for in both cases, and say whether a picture without a label shows a defect.

    Raises:
        UserError: If there is no picture, or the folder holds the results of an inspection.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"'{folder}' is not a folder; name a folder of pictures.")
    flat = bool(files_of(folder, image_suffixes()))
    try:
        check_no_report(folder)
        # The Magnetic-tile set has a drawing of itself beside its folders.
        items = _flat_items(folder) if flat and not magnetic_tile_folders(folder) else []
        entries = list_folder(folder, folder.name)
    except FileNotFoundError as error:
        if items:
            return items
        raise UserError(f"no picture in '{folder}' or in its sub-folders; name a folder of pictures.") from error
    except ValueError as error:
        raise UserError(f'{error}.') from error
    labelled = not all(entry.anomalous for entry in entries)  # else nothing is called normal: names are no labels
    return items + [
        Item(
            entry.image,
            entry.anomalous if labelled else None,
            entry.defect if labelled or entry.mask else '',
            entry.mask,
            entry.threshold,
        )
        for entry in entries
    ]


def _flat_items(folder: Path) -> list[Item]:
    """Pictures directly in a folder, with masks beside them or in a folder of masks."""
    pictures, masks = split_pairs(expand_inputs([folder]))
    finder, places = MaskFinder(), [place for place, _ in folder_mask_places(folder)]
    for path in pictures:
        found = next(filter(None, (finder.find(path, place) for place in places)), masks.get(path))
        if found is not None:
            masks[path] = found
    return [Item(path, mask=masks.get(path)) for path in pictures]


def mask_notes(items: Sequence[Item]) -> list[str]:
    """Which files beside pictures were taken for masks, in a line; nothing where there are none."""
    beside = [item.mask for item in items if item.mask is not None and item.mask.parent == item.path.parent]
    if not beside:
        return []
    more = ', ...' if len(beside) > _NAMED else ''
    named = ', '.join(path.name for path in beside[:_NAMED])
    return [f'{len(beside)} files beside pictures are read as masks, not inspected: {named}{more}']


def stray_masks(folder: str | Path, items: Sequence[Item]) -> list[str]:
    """Masks of a folder that belong to none of its pictures, a line each, with the picture of the nearest name."""
    folder = Path(folder)
    places = folder_mask_places(folder) or [(place, place) for place in magnetic_tile_folders(folder)]
    return strays(places, [item.path for item in items], [item.mask for item in items if item.mask])


def inspect_pictures(
    inferencer: AnomalyPredictor,
    items: Sequence[Item],
    threshold: str | float = 'auto',
    track: Callable[[Sequence[Item]], Iterator[Item]] = iter,  # type: ignore[assignment]
    batch: BatchSize | None = None,
    good: Sequence[Path] = (),
) -> Inspection:
    """Score pictures and calibrate all scores together.

    What is usual is told by the good pictures and those labelled normal, where there are at least five (two for models
    that compare pictures with pictures), else by all of them.

    Args:
        inferencer: The model, with its object set.
        items: The pictures.
        threshold: ``'auto'``, ``'F1'`` (the best for the labels), or a calibrated score between 0 and 1.
        track: Wraps the items, to show progress.
        batch: How many pictures of one shape run together.
        good: Good pictures that say what is usual, besides those labelled so (one that is among them counts once);
            they are not reported.

    Returns:
        The inspection; call its ``close`` when done.

    Raises:
        UserError: If ``'F1'`` is asked for and there are no labels, or the threshold is no score.
    """
    check_threshold(threshold, items)
    subject = inferencer.subject if inferencer.object_name else ()  # whatever other threads say meanwhile
    told: dict[str, Any] = dict(zip(('object', 'domain', 'defects'), subject, strict=False))
    usual: list[float] = []
    found = Inspection(scratch=ScratchFolder(Path(tempfile.gettempdir()), 'denseclip-anomaly-'))
    pools = {'all': BinnedPixels(), 'normal': BinnedPixels(), 'masked': BinnedPixels()}
    try:
        looked = outcomes(inferencer, [item.path for item in items], batch or BatchSize(), **told)
        for item, outcome in zip(track(items), looked, strict=True):
            if not isinstance(outcome.result, AnomalyResult):
                assert outcome.error is not None
                found.failures.append(outcome.error)
                continue
            scores = outcome.result.anomaly_map
            item = _pool(pools, item, scores)
            if item.label is False:
                usual += _usual_scores(inferencer, outcome, pools)
            np.save(found.map_file(len(found.items)), _reduced(scores))
            found.items.append(item)
            found.raw.append(outcome.result.pred_score)
        if found.items:
            counted = {item.path.resolve() for item in (*items, *found.items) if item.label is False}
            others = [path for path in good if path.resolve() not in counted]
            for outcome in outcomes(inferencer, others, batch or BatchSize(), **told):
                usual += _usual_scores(inferencer, outcome, pools)
                if outcome.error is not None:
                    found.notes.append(f'a good picture is left out: {readable(outcome.error)}')
            _calibrate(found, pools, usual, getattr(inferencer.model, 'even', EVEN))
            _measure(found, pools['masked'])
            found.thresholds = _thresholds(found, pools['masked'], threshold)
    except BaseException:
        found.close()
        raise
    return found


def check_threshold(threshold: str | float, items: Sequence[Item]) -> None:
    """Refuse a threshold that cannot be used, before any work is spent.

    Raises:
        UserError: See :func:`inspect_pictures`.
    """
    if threshold == 'F1':
        if {item.label for item in items} != {True, False}:
            raise UserError(
                f'threshold F1 needs labels: pictures in a folder {" or ".join(NORMAL_NAMES)}, and others in folders '
                'named by their defects. Use auto or a score.'
            )
    elif threshold != 'auto' and not (isinstance(threshold, float) and 0 < threshold < 1):
        raise UserError(f"threshold '{threshold}' must be auto, F1 or a score between 0 and 1, such as 0.5.")


def _pool(pools: dict[str, BinnedPixels], item: Item, scores: np.ndarray) -> Item:
    """Add a picture's pixels to the pools they belong to; the item with the label that its mask gives it."""
    nothing = np.zeros(scores.shape, dtype=bool)
    pools['all'].add(*check_pair(scores, nothing, str(item.path)))
    if item.label is False:
        pools['masked'].add(scores, nothing)
    elif item.mask is not None:
        try:
            mask = read_mask(item.mask, item.threshold)
            pools['masked'].add(*check_pair(scores, mask, str(item.mask)))
        except (UnreadableFileError, ValueError) as error:
            raise UserError(f'{error}. Repair or remove the mask.') from error
        if item.label is None:
            item = replace(item, label=bool(mask.any()))
    return item


def _reduced(scores: np.ndarray) -> np.ndarray:
    factor = KEPT_SIDE / max(scores.shape)
    if factor >= 1:
        return scores
    height, width = (max(1, round(side * factor)) for side in scores.shape)
    return cv2.resize(scores, (width, height), interpolation=cv2.INTER_AREA)


def _usual_scores(inferencer: AnomalyPredictor, outcome: Outcome, pools: dict[str, BinnedPixels]) -> list[float]:
    """Score of a good picture, whose pixels go to the normal ones; nothing if it cannot tell what is usual."""
    if not isinstance(outcome.result, AnomalyResult) or not inferencer.vouches(outcome.path):
        return []
    pixels = outcome.result.anomaly_map
    pools['normal'].add(pixels, np.zeros(pixels.shape, dtype=bool))
    return [outcome.result.pred_score]


def _calibrate(found: Inspection, pools: dict[str, BinnedPixels], normal: list[float], even: float | None) -> None:
    trusted = len(normal) >= (FEW if even is not None else 2)
    found.pixels = Calibration.of_quantiles(pools['normal' if trusted else 'all'].quantile)
    if even is not None:
        found.pictures = Calibration.of_scores(normal if trusted else found.raw)
    elif trusted:
        found.pictures = Calibration.of_good(normal)
        found.told_by = f'the {len(normal)} good pictures, each scored without itself'
    elif len(found.raw) >= FEW:
        found.pictures = Calibration.of_scores(found.raw)
        found.told_by = 'the pictures themselves, most of which should be good'
    else:
        found.pictures = found.pixels.of_picture()
        found.told_by = 'the pixels of so few pictures: a rough guide'


def _labels(found: Inspection) -> np.ndarray | None:
    labels = [item.label for item in found.items]
    return None if None in labels else np.array(labels, dtype=bool)


def _measure(found: Inspection, masked: BinnedPixels) -> None:
    labels = _labels(found)
    with_mask = sum(item.mask is not None for item in found.items)
    if labels is None and not with_mask:
        return
    of_pictures = dict.fromkeys(IMAGE_MEASURES, math.nan)
    if labels is None:
        unknown = sum(item.label is None for item in found.items)
        found.notes.append(f'pictures are not measured: {unknown} of {len(found.items)} have neither label nor mask')
    else:
        lacking = [what for what, have in (('normal', ~labels), ('anomalous', labels)) if not have.any()]
        found.notes += [f'pictures are not measured: none of them is {what}' for what in lacking]
        if not lacking:  # with one kind only AP and F1 would be 1, whatever the scores
            of_pictures = image_measures(np.array(found.raw), labels)
    maskless = sum(item.mask is None for item in found.items if item.label)
    if maskless:
        found.notes.append(f'pixels are not measured: {maskless} anomalous pictures have no mask')
    marked = any(item.label and item.mask for item in found.items)
    found.measures = {**of_pictures, **pixel_measures(None if maskless or not marked else masked)}


def _thresholds(found: Inspection, masked: BinnedPixels, threshold: str | float) -> Thresholds:
    if isinstance(threshold, float):
        return Thresholds(threshold, threshold, f'given: {threshold:g}')
    labels = _labels(found)
    if threshold == 'auto' or labels is None:
        return Thresholds(how=f'{Thresholds().how}, as told by {found.told_by}') if found.told_by else Thresholds()
    picture = float(found.pictures(f1_max(curve_of(np.array(found.raw), labels))[1]))
    raw = f1_max(masked.curve())[1]
    pixel = LIMIT if math.isnan(raw) else float(found.pixels(raw))
    how = 'best F1 against the labels of these very pictures, so it flatters'
    return Thresholds(picture, pixel, how if not math.isnan(raw) else f'{how}; pixels without masks: auto')
