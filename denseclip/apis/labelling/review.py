"""A page to look at labels, the most doubtful first, and what people decided there."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture, UnreadableImageError
from denseclip.apis.labelling.decisions import KIND, VERSION
from denseclip.apis.labelling.folder import put
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import LabelObject
from denseclip.apis.labelling.store import Record, Run, Store
from denseclip.files.names import shown
from denseclip.structures.outlines import keyhole
from denseclip.visualization.pages import template

PAGE = 'review.html'
_FOR_BROWSERS = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif')
_PREVIEW = 640  # pixels of the longer side, of pictures that browsers do not show
_COARSE = 250  # parts of the longer side that outlines on the page may be off by one of


def write_page(folder: str | Path) -> tuple[Path, int]:
    """Write the page of a labelled folder.

    Args:
        folder: What ``denseclip label`` wrote.

    Returns:
        The page, and the number of objects on it.

    Raises:
        UserError: If the folder was not labelled, or cannot be written to.
    """
    store = Store(Path(folder))
    run = store.opened()
    data = page_data(store, run)
    page = template('label_review.html').render(
        title=f'Labels to look at: {store.folder.resolve().name}',
        command=f'denseclip review {store.folder} --apply decisions.json',
        data=data,
    )
    path = store.folder / PAGE
    try:
        put(path, page)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}.") from error
    return path, len(data['objects'])


def page_data(store: Store, run: Run) -> dict[str, Any]:
    """What the page shows; plain data.

    Objects of which the model says no score come first: nobody vouches for them.
    """
    records = store.decided()
    found = [
        (entry, number, record)
        for number, record in enumerate(records)
        for entry in record.objects
        if entry.label < len(run.names)
    ]
    found.sort(key=lambda item: (item[0].score is not None, item[0].score or 0.0))
    return {
        'kind': KIND,
        'version': VERSION,
        'labels': run.id,
        'classes': list(run.names),
        'shown': [shown(name) for name in run.names],
        'pictures': [_picture(record, store, run) for record in records],
        'objects': [_object(entry, number, record.size) for entry, number, record in found],
    }


def _object(entry: LabelObject, picture: int, size: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = entry.box
    corners: Sequence[Sequence[float]] = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    mask = entry.mask
    if mask is not None:
        corners = keyhole(mask, max(size) / _COARSE).tolist()
    path = ' '.join(f'{round(x, 1):g},{round(y, 1):g}' for x, y in corners)
    return {
        'picture': picture,
        'object': entry.id,
        'label': entry.label,
        'score': entry.score,
        'box': [round(value, 1) for value in entry.box],
        'path': f'M{path}Z',
    }


def _picture(record: Record, store: Store, run: Run) -> dict[str, Any]:
    height, width = record.size
    return {
        'name': record.name,
        'shown': shown(record.source),
        'width': width,
        'height': height,
        'src': _address(record, store, run),
    }


def _address(record: Record, store: Store, run: Run) -> str:
    """Where a browser finds the picture: beside the page, or inside it where browsers do not know its kind."""
    inside = LAYOUTS[run.layout].place(record.file, record.split)
    path = store.folder / inside
    if not path.exists():
        path = Path(run.source) / record.source
        inside = Path(os.path.relpath(path, store.folder)).as_posix()
    if path.suffix.lower() in _FOR_BROWSERS:
        return quote(os.fsencode(inside))
    try:
        pixels = Picture.of(path).rgb
    except UnreadableImageError:
        return ''
    return _preview(pixels)


def _preview(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    image.thumbnail((_PREVIEW, _PREVIEW))
    out = io.BytesIO()
    image.save(out, 'JPEG', quality=80)
    return 'data:image/jpeg;base64,' + base64.b64encode(out.getvalue()).decode('ascii')
