"""Which files are pictures, and one walk through folders for all who look for them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from PIL import Image

from denseclip.files.pixels import safe_formats

COMMON_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
"""Endings of pictures, in lower case, that other programs look for in data sets, too."""

LOSSY = ('.jpg', '.jpeg', '.jpe', '.jfif')
"""Endings of pictures that hold no ids: JPEG changes them."""

_LOSSLESS = ('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.apng')
PICTURE_SUFFIXES = (*COMMON_SUFFIXES, *LOSSY[2:], *_LOSSLESS)
"""Endings of pictures, in lower case, that data sets may have: what OpenCV reads in training and Pillow here."""

LABEL_SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif', *_LOSSLESS, '.webp', *LOSSY)
"""Endings of label maps, the likeliest first; JPEG is only named, never read as it is."""

_UNREAD = frozenset(
    ('.heic', '.heif', '.hif', '.avif', '.jxl', '.jxr', '.mpo', '.exr', '.hdr', '.dcm', '.svg', '.xcf', '.psd', '.tga',
     '.raw', '.dng', '.cr2', '.cr3', '.crw', '.nef', '.nrw', '.arw', '.srf', '.sr2', '.orf', '.rw2', '.raf', '.pef',
     '.srw', '.x3f', '.3fr', '.iiq', '.erf', '.kdc', '.mrw', '.gif')
)  # fmt: skip
"""Endings of pictures that a reader may not know: those of phones, cameras and drawing programs."""


def image_suffixes() -> frozenset[str]:
    """Suffixes, in lower case and with the dot, of the pictures that Pillow opens by itself."""
    known, read = Image.registered_extensions(), {*safe_formats()}
    return frozenset(suffix for suffix, kind in known.items() if kind in read).union(PICTURE_SUFFIXES)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is a system's or a tool's, not the user's: ``._a.jpg``, ``__MACOSX``."""
    return name.startswith('.') or name.casefold() == '__macosx'


def is_lossy(path: Path) -> bool:
    """Whether a file is a JPEG by its name."""
    return path.suffix.lower() in LOSSY


def walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, sorted, without hidden files and folders, and through links but not round in circles.

    Args:
        folder: Where to begin; it may be hidden itself.

    Yields:
        Path of a folder, names of its folders, and names of its files; folders taken out of the list are left out.
    """
    root = os.fspath(folder)
    for place, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(n for n in folders if not is_hidden(n) and not _leads_back(root, place, n))
        yield place, folders, sorted(name for name in names if not is_hidden(name))


def _leads_back(root: str, place: str, name: str) -> bool:
    """Whether a folder is a link to one of those above it, or to one that these lie in."""
    path = Path(place, name)
    if not path.is_symlink():
        return False
    real = path.resolve()
    above = Path(place)
    chain = [above, *(p for p in above.parents if p.is_relative_to(root))]
    return any(step.resolve().is_relative_to(real) for step in chain)


def files_of(folder: Path, suffixes: Collection[str], *, deep: bool = False) -> list[Path]:
    """Files with certain endings, sorted by path; hidden ones are left out.

    Args:
        folder: The folder.
        suffixes: Endings in lower case; the case of the files' own does not matter.
        deep: Whether its folders are looked into, too.
    """
    found = []
    for place, folders, names in walk(folder):
        if not deep:
            folders.clear()
        found += [Path(place, name) for name in names if os.path.splitext(name)[1].lower() in suffixes]  # noqa: PTH122
    return sorted(found)


def globbed(folder: Path, *patterns: str) -> list[Path]:
    """Files and folders that patterns match, sorted, each once; hidden ones and what lies in such are left out."""
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if not any(map(is_hidden, path.relative_to(folder).parts)))


def other_kinds(read: Collection[str]) -> frozenset[str]:
    """Endings of pictures that somebody who reads these does not read."""
    return (_UNREAD | image_suffixes()) - {*read}


def left_out(folder: Path, suffixes: Collection[str] | None = None, *, deep: bool = True) -> str:
    """What to say of pictures in a folder of kinds that are not read; empty where there are none.

    Args:
        folder: The folder.
        suffixes: Endings that are read; by default those of :func:`image_suffixes`.
        deep: Whether its folders are looked into, too.
    """
    others = other_kinds(image_suffixes() if suffixes is None else suffixes)
    return left_out_line(Counter(path.suffix.lower() for path in files_of(folder, others, deep=deep)), folder)


def left_out_line(kinds: Counter[str], folder: Path) -> str:
    """The same of pictures that were counted by their endings."""
    if not kinds:
        return ''
    listed = ', '.join(f'{suffix} ({count})' for suffix, count in kinds.most_common())
    return f'{kinds.total()} pictures in {folder} are left out, their kinds are not read: {listed}; save them as PNG'
