"""Files of an inspection: heat maps, masks, tables, and the report."""

from __future__ import annotations

import base64
import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from denseclip.apis.anomaly_folder import Inspection, agreeing
from denseclip.apis.anomaly_result import AnomalyResult, encode, mask_picture
from denseclip.apis.files import write_file
from denseclip.apis.images import UnreadableImageError
from denseclip.apis.results.formats import Format
from denseclip.apis.results.sheets import Place
from denseclip.datasets.anomaly_layouts import REPORT_FILES
from denseclip.files.names import readable
from denseclip.visualization.anomaly_pictures import Box, boxes_of
from denseclip.visualization.anomaly_report import Card, Report

THUMBNAIL = 256
EMBEDDED = 60
"""Pictures up to which their thumbnails are inside the report; those of more lie beside it and are read when seen."""
_HEAT_SIDE = 2048


def output_names(stems: Sequence[str], maps: bool = False, formats: Sequence[Format] = ()) -> list[str]:
    """Files that :func:`write_outputs` makes, relative to its folder."""
    names = [*REPORT_FILES]
    for stem in stems:
        names += picture_names(stem, maps, formats)
        if len(stems) > EMBEDDED:
            names += [f'thumbnails/{stem}.jpg', f'thumbnails/{stem}_heat.jpg']
    return names


def picture_names(stem: str, maps: bool = False, formats: Sequence[Format] = ()) -> list[str]:
    """Files of one picture without those of the report, relative to the folder."""
    names = [f'heatmaps/{stem}.jpg', f'masks/{stem}.png', *([f'maps/{stem}.tiff'] if maps else [])]
    return [*names, *(f'{row.name}/{stem}{row.ending}' for row in formats)]


def write_outputs(
    found: Inspection,
    folder: Path,
    stems: Sequence[str],
    object_name: str,
    maps: bool = False,
    formats: Sequence[Format] = (),
    track: Callable[[Sequence[int]], Iterator[int]] = iter,  # type: ignore[assignment]
) -> list[Path]:
    """Write everything about an inspection; earlier files of these names are overwritten.

    Pictures that cannot be read any more are left out and join ``found.failures``.

    Args:
        found: The inspection.
        folder: An existing folder.
        stems: A distinct name for each picture.
        object_name: What the pictures show, for the report.
        maps: Also write raw maps as float32 TIFF.
        formats: Further files of every picture, in a folder of the format's name.
        track: Wraps the pictures' numbers, to show progress.

    Returns:
        The fixed files.
    """
    written = []
    for index in track(found.order()):
        try:
            result = found.result(index)
        except UnreadableImageError as error:  # it has gone since it was looked at
            found.failures.append(error)
            continue
        written.append(write_picture(found, index, result, folder, stems[index], maps, formats, len(stems) > EMBEDDED))
    return write_tables(found, folder, object_name, written)


@dataclass(frozen=True)
class Written:
    """What tables and the report say of a picture whose files are written.

    Attributes:
        row: Its row of ``scores.csv``.
        boxes: Its rows of ``boxes.csv``.
        card: Its place in the report.
    """

    row: dict[str, Any]
    boxes: list[list[Any]]
    card: Card


def write_picture(
    found: Inspection,
    index: int,
    result: AnomalyResult,
    folder: Path,
    stem: str,
    maps: bool,
    formats: Sequence[Format],
    beside: bool,
) -> Written:
    """Write the files of one picture; see :func:`write_outputs`.

    Args:
        found: The inspection.
        index: Number of the picture in it.
        result: What was found in it.
        folder: An existing folder.
        stem: Name of the picture's files.
        maps: Also write the raw map.
        formats: Further files.
        beside: Write thumbnails as files, not into the report.
    """
    more = [*(['maps'] if maps else []), *(['thumbnails'] if beside else [])]
    for name in ('heatmaps', 'masks', *more, *(row.name for row in formats)):
        (folder / name).mkdir(exist_ok=True)
    heat = _limited(result.overlay(), _HEAT_SIDE)
    write_file(folder / 'heatmaps' / f'{stem}.jpg', encode(heat, '.jpg'))
    mask = result.mask()
    write_file(folder / 'masks' / f'{stem}.png', encode(mask_picture(mask), '.png'))
    if maps:
        write_file(folder / 'maps' / f'{stem}.tiff', encode(Image.fromarray(result.anomaly_map), '.tiff'))
    for row in formats:
        place = folder / row.name
        write_file(place / f'{stem}{row.ending}', row.content(result, Place(place)))
    regions, item = result.boxes(), found.items[index].path
    said = _row(found, index, result, stem, mask, len(regions))
    boxes = [[readable(item), b.x, b.y, b.width, b.height, f'{b.score:.6f}'] for b in regions]
    return Written(said, boxes, _card(said, result, heat, folder, beside))


def write_tables(found: Inspection, folder: Path, object_name: str, written: Sequence[Written]) -> list[Path]:
    """Write tables, report and summary of pictures whose files are written, in their order."""
    failures = [readable(failure) for failure in found.failures]
    cards, rows = [entry.card for entry in written], [entry.row for entry in written]
    boxes = [box for entry in written for box in entry.boxes]
    contents = (
        Report(
            object_name, cards, found.thresholds, found.measures, found.notes, failures, found.method, found.chance
        ).html(),
        _table(list(rows[0]) if rows else ['file'], [list(row.values()) for row in rows]),
        _table(['file', 'x', 'y', 'width', 'height', 'score'], boxes),
        found.summary(),
    )
    return [write_file(folder / name, content) for name, content in zip(REPORT_FILES, contents, strict=True)]


def _row(
    found: Inspection, index: int, result: AnomalyResult, stem: str, mask: np.ndarray, regions: int
) -> dict[str, Any]:
    item = found.items[index]
    return dict(
        file=readable(item.path),
        score=f'{result.score:.6f}',
        raw_score=repr(result.pred_score),
        anomalous=int(result.score >= found.thresholds.picture),
        highest_pixel=f'{float(result.pixels(result.anomaly_map.max())):.6f}',
        area=f'{float(mask.mean()):.6f}',
        regions=regions,
        label='' if item.label is None else int(item.label),
        defect=readable(item.defect),
        words=words_text(result),
        name=stem,
    )


def words_text(result: AnomalyResult, most: int = 3, least: float = 0.05) -> str:
    """What the hottest area looks like: up to three words, the highest score first, without those that hardly count."""
    words = result.words[0] if result.words else ()
    return ', '.join(f'{word} {score:.2f}' for word, score in words[:most] if score >= least)


def _card(row: dict[str, Any], result: AnomalyResult, heat: Image.Image, folder: Path, beside: bool) -> Card:
    plain, stem = Image.fromarray(result.image), row['name']
    label = '' if row['label'] == '' else ('anomalous' if row['label'] else 'normal')
    places = {'heat': f'heatmaps/{stem}.jpg', 'mask': f'masks/{stem}.png'}
    links = {what: quote(place) for what, place in places.items()}
    if result.source is not None:
        # Bytes of names that are no text survive quoting.
        links['photo'] = quote(os.fsencode(os.path.relpath(result.source.resolve(), folder.resolve())))
    return Card(
        name=Path(row['file']).name,
        path=row['file'],
        score=float(row['score']),
        raw=result.pred_score,
        anomalous=bool(row['anomalous']),
        regions=row['regions'],
        area=float(row['area']),
        label=row['defect'] if label == 'anomalous' and row['defect'] else label,
        truth=label,
        photo=_thumbnail(plain, folder, f'thumbnails/{stem}.jpg' if beside else None),
        heat=_thumbnail(heat, folder, f'thumbnails/{stem}_heat.jpg' if beside else None),
        words=row['words'],
        links=links,
        spot=_spot(result),
    )


def _spot(result: AnomalyResult) -> tuple[float, float, float, float, float]:
    """The hottest area as shares of the picture: where a slider of the page flags what was not flagged."""
    height, width = result.image.shape[:2]
    hottest = boxes_of(agreeing(result, flagged=True).mask(), result.score_map)
    [box, *_] = hottest or [Box(0, 0, width, height, 0.0)]
    return box.x / width, box.y / height, box.width / width, box.height / height, width / height


def _limited(picture: Image.Image, side: int) -> Image.Image:
    if max(picture.size) <= side:
        return picture
    smaller = picture.copy()
    smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
    return smaller


def _thumbnail(picture: Image.Image, folder: Path, place: str | None) -> str:
    """A small picture: written to a place in the folder, or as a data URL."""
    content = io.BytesIO()
    _limited(picture, THUMBNAIL).save(content, 'JPEG', quality=75)
    if place is not None:
        write_file(folder / place, content.getvalue())
        return quote(place)
    return 'data:image/jpeg;base64,' + base64.b64encode(content.getvalue()).decode('ascii')


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()
