"""Results as the body of an answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from denseclip.apis.results.base import Result
from denseclip.apis.results.formats import Format, formats_of
from denseclip.apis.results.sheets import Place
from denseclip.apis.segmentation import Segmentation
from denseclip.serving.problems import Problem

JSON, PNG, XML = 'application/json', 'image/png', 'application/xml'
_TYPES = {'.png': PNG, '.csv': 'text/csv; charset=utf-8', '.json': JSON, '.xml': XML, '.tiff': 'image/tiff'}
_QUALITY = re.compile(r'[01](\.\d{0,3})?')


@dataclass(frozen=True)
class Answer:
    """A body.

    Attributes:
        content: Its bytes.
        media_type: What they are.
        filename: What a browser may save them as; None: nothing to save.
    """

    content: bytes
    media_type: str
    filename: str | None = None


def wanted_format(asked: str | None, accept: str, kind: str) -> Format | None:
    """Which form of a result a request wants.

    Args:
        asked: Its ``?format=``.
        accept: Its header ``Accept``.
        kind: Of the result.

    Returns:
        A row of the table of formats; None: the usual JSON.

    Raises:
        Problem: If there is no such form.
    """
    known = formats_of(kind)
    if asked is not None and asked != 'json':
        if asked not in known:
            raise Problem(422, f"no format of {kind} results is called '{asked:.40}'; there are {', '.join(known)}.")
        return known[asked]
    if asked == 'json' or not accept.strip():
        return None
    for one in _by_preference(accept):
        if one in ('*/*', 'application/*', JSON):
            return None
        if one in ('image/*', PNG):
            return known['labels' if 'labels' in known else 'overlay']
    raise Problem(406, f"'Accept: {accept:.60}' cannot be met: ask for {JSON} or {PNG}, or use ?format=.")


def _by_preference(accept: str) -> list[str]:
    """The types of a header ``Accept``, the most wanted first: by ``q``, then as they stand; ``q=0`` is not wanted."""
    ranked = []
    for part in accept.split(','):
        kind, *parameters = (item.strip().lower() for item in part.split(';'))
        quality = next((item[2:] for item in parameters if item.startswith('q=')), '1')
        weight = float(quality) if _QUALITY.fullmatch(quality) else 1.0
        if kind and weight > 0:
            ranked.append((weight, kind))
    return [kind for _, kind in sorted(ranked, key=lambda pair: -pair[0])]


def render(result: Result, form: Format | None, filename: str, extra: dict[str, Any]) -> Answer:
    """Make the body.

    Args:
        result: What was found.
        form: In which form; None: the usual JSON.
        filename: What the sender calls the picture.
        extra: What the usual JSON says besides.
    """
    if form is None:
        return Answer(_dump({**summary(result), **extra}), JSON)
    stem = PurePosixPath(filename).stem or 'picture'
    content = form.content(result, Place(name=filename))
    suffix = PurePosixPath(form.ending).suffix
    body = content.encode() if isinstance(content, str) else content
    return Answer(body, _TYPES[suffix], stem + form.ending)


def summary(result: Result) -> dict[str, Any]:
    """The usual JSON of a result."""
    found = result.to_dict()
    del found['source']  # it is the sender's
    found['colors'] = [_hex(colour) for colour in _colours(result)]
    if isinstance(result, Segmentation):
        found['areas'] = [
            {
                'class': area.name,
                'label': area.label,
                'pixels': area.pixels,
                'share': round(area.share, 6),
                'score': None if area.score is None else round(area.score, 4),
                'by_chance': area.by_chance,
            }
            for area in result.areas()
        ]
    return found


def _colours(result: Any) -> Any:
    """The colours of the overlay, one per class."""
    palette = getattr(result, 'palette', None)
    if palette is None:
        return [(230, 75, 60)] * len(result.names)
    from denseclip.visualization.palette import overlay_palette

    vocabulary = getattr(result, 'vocabulary', None)
    known = len(result.names) if vocabulary is None else len(vocabulary)
    return overlay_palette(result.names, palette[: len(result.names)], known if known < len(result.names) else None)


def _hex(colour: Any) -> str:
    return '#' + ''.join(f'{int(value):02x}' for value in colour)


def _dump(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(',', ':'), allow_nan=False).encode()
