"""Pictures with what was found in them, as annotation tools have them: the ground of every tool's writer."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denseclip.files.names import readable

if TYPE_CHECKING:
    import numpy as np

    from denseclip.apis.results.base import Region, Result


@dataclass(frozen=True)
class Place:
    """Where a file about one picture is going to be.

    Attributes:
        folder: Folder that it lies in: paths to pictures are said from there.
        name: What the picture is called there; None: its path from the folder.
    """

    folder: Path = Path()
    name: str | None = None


@dataclass(frozen=True)
class Sheet:
    """A picture with what was found in it.

    Attributes:
        file: Its path, with slashes.
        size: Height and width.
        find: Gives what was found; masks are made when they are asked for.
        split: ``train``, ``val``, ``test``, or empty.
        address: The picture itself as a ``data:`` address, where there is no file; empty otherwise.
    """

    file: str
    size: tuple[int, int]
    find: Callable[[], Sequence[Region]]
    split: str = ''
    address: str = ''


def sheet_of(result: Result, place: Place | None = None) -> Sheet:
    """The sheet of a result.

    Args:
        result: Of any kind.
        place: Where the file is going to be; by default in the current folder.
    """
    height, width = result.image.shape[:2]
    inside = result.source is None
    address = f'data:image/png;base64,{base64_png(result.image)}' if inside else ''
    return Sheet(
        picture_path(result, place), (int(height), int(width)), lambda: list(result.regions()), address=address
    )


def picture_path(result: Result, place: Place | None = None) -> str:
    """What a file calls the picture of a result; ``STEM.png`` where it has no file."""
    place = place or Place()
    if place.name is not None:
        return place.name
    if result.source is None:
        return f'{result.stem}.png'
    # A path up and out of a link is one up from where the link leads.
    start = os.path.realpath(place.folder)
    source = Path(os.path.realpath(result.source.parent)) / result.source.name
    return readable(Path(os.path.relpath(source, start)).as_posix())


def base64_png(pixels: np.ndarray) -> str:
    """See :func:`png`; in base64."""
    return base64.b64encode(png(pixels)).decode('ascii')


def png(pixels: np.ndarray) -> bytes:
    """A picture as a PNG file.

    Args:
        pixels: ``uint8``, (H, W) or (H, W, 3).
    """
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, 'PNG')
    return out.getvalue()
