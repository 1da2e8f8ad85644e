"""Which mask belongs to which picture, by their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from denseclip.datasets.anomaly_masks import looks_like_mask
from denseclip.files.pictures import LOSSY, files_of, image_suffixes

ENDINGS = (
    *('_mask', '-mask', '_masks', '_gt', '-gt', '_label', '-label', '_labels', '-labels', '_seg', '-seg'),
    *('_groundtruth', '_ground_truth', '_annotation', '_anno', '_defect'),
)
"""What names of masks add to the picture's, in any letter case."""
BEGINNINGS = ('mask_', 'gt_', 'label_')

_SUFFIXES = ('.png', '.bmp', '.tif', '.tiff', *LOSSY)
_NAMED = 50  # strays for which the nearest picture is looked up
_OF_PARTS = '_defect'  # beside a picture it is rather another one, of a defective part


def pictures_in(folder: Path) -> list[Path]:
    """Pictures directly in a folder, sorted; masks among them too."""
    return files_of(folder, image_suffixes())


class MaskFinder:
    """Finds masks by the names of pictures; folders are listed once."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, list[Path]]] = {}

    def find(self, image: Path, folder: Path) -> Path | None:
        """The mask of a picture in a folder: its stem, alone or with one of :data:`ENDINGS` or :data:`BEGINNINGS`."""
        names = self._names(folder)
        for form in _forms(image.stem):
            found = [path for path in names.get(form.casefold(), []) if path != image]
            if found:
                return min(found, key=lambda path: (path.stem != form, _rank(path), path))
        return None

    def _names(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._known:
            names: dict[str, list[Path]] = {}
            for path in pictures_in(folder) if folder.is_dir() else []:
                names.setdefault(path.stem.casefold(), []).append(path)
            self._known[folder] = names
        return self._known[folder]


def split_pairs(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, Path]]:
    """Tell pictures from masks that lie beside them: ``a.jpg`` and ``a.png``, or ``a.png`` and ``a_GT.png``.

    Args:
        paths: Files of one folder.

    Returns:
        Pictures in the given order, and the masks of some of them. A file counts as a mask if its name says so and
        :func:`~denseclip.datasets.anomaly_masks.looks_like_mask` does; ``a_defect.png`` is a picture of its own here.
    """
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(path.stem.casefold(), []).append(path)
    masks: dict[Path, Path] = {}
    for path in paths:
        owner = _owner(path, stems)
        if owner is not None and owner not in masks and path not in masks and looks_like_mask(path):
            masks[owner] = path
    taken = set(masks.values())
    return [path for path in paths if path not in taken], {p: mask for p, mask in masks.items() if p not in taken}


def strays(places: Iterable[tuple[Path, Path]], pictures: Sequence[Path], used: Iterable[Path]) -> list[str]:
    """Masks that belong to no picture, a line each, with the picture of the nearest name.

    Args:
        places: Folders of masks, each with the folder of its pictures. A mask in a sub-folder belongs to a picture in
            the sub-folder of that name, one directly in the folder to any picture below the other.
        pictures: All pictures.
        used: Masks that have their picture.
    """
    known = {path.resolve() for path in (*used, *pictures)}
    lines: list[str] = []
    seen: set[Path] = set()
    stems: dict[Path, set[str]] = {}
    for folder, base in places:
        for path in files_of(folder, image_suffixes(), deep=True):
            real = path.resolve()
            if real in known or real in seen:
                continue
            inside = base.joinpath(*path.relative_to(folder).parts[:-1])
            if inside not in stems:
                stems[inside] = {p.stem.casefold() for p in pictures if p.is_relative_to(inside)}
            bare = _bare(path.stem)
            if bare not in stems[inside]:  # normal pictures may have masks that mark nothing
                seen.add(real)
                lines.append(f'{path}: belongs to no picture{_nearest(path, bare, pictures, len(lines))}')
    return lines


def _nearest(mask: Path, bare: str, pictures: Sequence[Path], before: int) -> str:
    if before >= _NAMED or not pictures:
        return ''
    by_stem = {picture.stem.casefold(): picture for picture in reversed(pictures)}
    by_stem |= {p.stem.casefold(): p for p in reversed(pictures) if p.parent.name == mask.parent.name}
    [name] = difflib.get_close_matches(bare, by_stem, n=1, cutoff=0)
    return f'; the nearest name is {by_stem[name]}'


def _forms(stem: str) -> Iterator[str]:
    """Stems of the masks of a picture, the likeliest first."""
    yield f'{stem}{ENDINGS[0]}'
    yield stem
    yield from (f'{stem}{ending}' for ending in ENDINGS[1:])
    yield from (f'{beginning}{stem}' for beginning in BEGINNINGS)


def _bare(stem: str) -> str:
    """A mask's stem in lower case, without what it adds to the picture's."""
    low = stem.casefold()
    for ending in ENDINGS:
        if low.endswith(ending):
            return low.removesuffix(ending)
    return next((low.removeprefix(begin) for begin in BEGINNINGS if low.startswith(begin)), low)


def _owner(path: Path, stems: dict[str, list[Path]]) -> Path | None:
    """The picture whose mask a file would be, by its name."""
    bare = _bare(path.stem)
    if path.stem.casefold().endswith(_OF_PARTS):
        return None
    if bare != path.stem.casefold():
        return next(iter(stems.get(bare, [])), None)
    if path.suffix.lower() in LOSSY:
        return None
    return next((other for other in stems[bare] if other.suffix.lower() in LOSSY), None)


def _rank(path: Path) -> int:
    suffix = path.suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)
