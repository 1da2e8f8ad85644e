"""Where the pictures of a folder lie, and what their copies are called, so that every reader finds them again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from denseclip.apis.errors import UserError
from denseclip.datasets.own_data.folders import LABEL_WORDS, OTHER_WORDS, PICTURE_WORDS
from denseclip.datasets.own_data.pictures import ANNOTATION_FOLDERS, PICTURE_FOLDERS
from denseclip.datasets.own_data.splits import ALIASES, split_of
from denseclip.files.names import shown
from denseclip.files.pictures import COMMON_SUFFIXES, files_of, image_suffixes

MADE_SUFFIX = '.png'
"""Of pictures that are written anew, since readers of data sets may not look for files of their kind."""
_SPLIT_WORDS = {word: split for split, words in ALIASES.items() for word in words}
_RESERVED = {*PICTURE_WORDS, *LABEL_WORDS, *OTHER_WORDS, *ANNOTATION_FOLDERS, *PICTURE_FOLDERS, *_SPLIT_WORDS}
_SIGN = 'x'  # behind a word that readers would take for something


@dataclass(frozen=True)
class Source:
    """A picture to label.

    Attributes:
        path: The file.
        relative: Its path in the folder, with slashes.
        name: Name of its files, relative to the folders of a layout, without suffix.
        suffix: Of its copy.
        split: ``train``, ``val`` or ``test``; empty where the folder is not split.
    """

    path: Path
    relative: str
    name: str
    suffix: str
    split: str = ''

    @property
    def file(self) -> str:
        """Name of its copy."""
        return self.name + self.suffix

    @property
    def made(self) -> bool:
        """Whether the copy is of another kind than the file."""
        return self.suffix.lower() != self.path.suffix.lower()


def find_pictures(folder: Path) -> list[str]:
    """Pictures in a folder and its folders, told by their suffix; links are followed, hidden ones left out.

    Args:
        folder: The folder.

    Returns:
        Paths relative to it, with slashes, sorted.

    Raises:
        UserError: If it is no folder, or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder; name the folder of the pictures to label.")
    found = files_of(folder, image_suffixes(), deep=True)
    if not found:
        raise UserError(f"folder '{folder}' holds no pictures (.jpg, .png, ...), nor do its folders; name another.")
    return sorted(path.relative_to(folder).as_posix() for path in found)


def sources(
    folder: Path, relatives: Sequence[str], taken: Mapping[str, str] | None = None, split: bool | None = None
) -> Iterator[Source]:
    """Pictures with names that are theirs alone.

    Letter case does not count, as it does not on some file systems; pictures that only their suffix tells apart get it
    (``car_jpg``, ``car_png``), or a number.

    Args:
        folder: Where the pictures lie.
        relatives: See :func:`find_pictures`.
        taken: Names that pictures have got already, by their relative paths; they stay.
        split: Whether the pictures that have names are split, and so are the others; None: as the folders are called.

    Yields:
        Pictures, in their order.

    Raises:
        UserError: If the set is split and a picture lies in no folder of a split.
    """
    taken = dict(taken or {})
    if split is None:
        split = is_split(relatives)
    elif split:
        _refuse_strays(relatives, taken)
    used = {name.casefold() for name in taken.values()}
    stems: dict[str, int] = {}
    for relative in relatives:
        stem = _plain_name(relative, split).casefold()
        stems[stem] = stems.get(stem, 0) + 1
    for relative in relatives:
        path = PurePosixPath(relative)
        name = taken.get(relative) or _free(relative, split, stems, used)
        used.add(name.casefold())
        suffix = path.suffix if path.suffix.lower() in COMMON_SUFFIXES else MADE_SUFFIX
        part = split_of(path.parts[0]) if split else ''
        yield Source(folder / relative, relative, name, suffix, part or '')


def is_split(relatives: Iterable[str]) -> bool:
    """Whether all pictures lie in folders called as splits, those to train on and to validate on among them."""
    tops = {PurePosixPath(relative).parts[0] if '/' in relative else '' for relative in relatives}
    splits = {_SPLIT_WORDS.get(top.lower(), '') for top in tops}
    return '' not in splits and {'train', 'val'} <= splits and len(tops) == len(splits)


def _refuse_strays(relatives: Sequence[str], taken: Mapping[str, str]) -> None:
    """Keep pictures out of a set that is split already where no split, or another folder of one, holds them."""
    tops: dict[str, str] = {}
    for relative in [*taken, *relatives]:
        top = PurePosixPath(relative).parts[0] if '/' in relative else ''
        part = _SPLIT_WORDS.get(top.lower(), '')
        if not part or tops.setdefault(part, top) != top:
            known = ', '.join(f'{name}/' for name in sorted(tops.values()))
            raise UserError(
                f"the labelled folder is split as its pictures were ({known}), and '{shown(relative)}' lies in none of "
                'these; move it into one, or label into another folder with --out.'
            )


def _free(relative: str, split: bool, stems: Mapping[str, int], used: set[str]) -> str:
    """A name that no other picture has."""
    plain = _plain_name(relative, split)
    suffix = PurePosixPath(relative).suffix[1:]
    if stems[plain.casefold()] > 1 or plain.casefold() in used:
        plain = f'{plain}_{suffix}'
    name, number = plain, 1
    while name.casefold() in used or (name != _plain_name(relative, split) and name.casefold() in stems):
        number += 1
        name = f'{plain}_{number}'
    return name


def _plain_name(relative: str, split: bool) -> str:
    *folders, file = PurePosixPath(relative).parts
    kept = [folders.pop(0)] if split else []
    parts = [*kept, *(_neutral(_legible(part)) for part in folders), _legible(PurePosixPath(file).stem)]
    return '/'.join(parts)


def _legible(part: str) -> str:
    """A part of a path that every layout can hold: nothing invisible, nothing that is no text, no backslash."""
    return ''.join(c if c.isprintable() and c != '\\' else '_' for c in part).strip() or '_'


def _neutral(part: str) -> str:
    """A folder's name that no reader takes for a split, or for pictures or label maps: ``masks`` becomes ``masksx``."""
    found = re.sub(r'[^\W\d_]+', lambda run: _neutral_words(run[0]), part)
    low = found.lower()
    bases = {low.removesuffix(word) for word in LABEL_WORDS if len(word) > 3 and low.endswith(word)}
    trained = {low.removesuffix(word) for word in LABEL_WORDS} & _SPLIT_WORDS.keys()
    return found + _SIGN if low in _RESERVED or bases or trained else found


def _neutral_words(run: str) -> str:
    words = re.split(r'(?<=[a-z])(?=[A-Z])', run)
    return ''.join(word + _SIGN if word.lower() in _RESERVED else word for word in words)
