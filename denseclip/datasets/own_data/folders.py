"""Which folders hold pictures and which label maps, by the words in their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from denseclip.datasets.own_data.splits import ALIASES
from denseclip.files.pictures import LABEL_SUFFIXES, PICTURE_SUFFIXES, is_lossy, other_kinds, walk

PICTURE_WORDS = frozenset(
    ('images', 'image', 'imgs', 'img', 'jpegimages', 'pictures', 'picture', 'photos', 'photo', 'rgb', 'frames', 'input',
     'inputs', 'raw', 'leftimg8bit', 'imgsfine', 'image_2', '701_stillsraw_full')
)  # fmt: skip
LABEL_WORDS = frozenset(
    ('masks', 'mask', 'labels', 'label', 'annotations', 'annotation', 'annots', 'annot', 'anns', 'ann', 'gts', 'gt',
     'groundtruth', 'ground_truth', 'segmentationclass', 'segmentationclasspng', 'segmentationclassaug', 'gtfine',
     'labelmaps', 'label_maps', 'segmentations', 'segmentation', 'segmaps', 'semantic', 'targets', 'target',
     'labeledapproved_full')
)  # fmt: skip
OTHER_WORDS = frozenset(  # pictures that show label maps, objects instead of classes
    ('segmentationclassvisualization', 'segmentationobject', 'segmentationobjectpng', 'segmentationobjectvisualization',
     'visualization', 'visualizations', 'semantic_rgb', 'instance', 'instances')
)  # fmt: skip
_SPLIT_WORDS = {word: split for split, words in ALIASES.items() for word in words}
_ROLES = (('labels', LABEL_WORDS), ('pictures', PICTURE_WORDS))
_DEPTH = 8  # folders below the data set that are looked through


@dataclass
class Group:
    """Files of one split in the folders of one role.

    Attributes:
        files: Paths by their name without suffix, relative to the parts of the folders that are no role and no split.
        twice: Pairs of paths that have such a name in common.
    """

    files: dict[str, Path] = field(default_factory=dict)
    twice: list[tuple[Path, Path]] = field(default_factory=list)


@dataclass
class Groups:
    """Pictures, label maps and files of folders that are called neither, by split; ``''`` where there is none.

    Attributes:
        left_out: Pictures of kinds that are not read, by their endings.
    """

    pictures: dict[str, Group] = field(default_factory=dict)
    labels: dict[str, Group] = field(default_factory=dict)
    plain: dict[str, Group] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Place:
    """What the names of a folder and of those above it say."""

    role: str
    split: str
    rest: tuple[str, ...]


def scan(folder: Path) -> Groups:
    """Sort all pictures below a folder by the roles and splits that the names of their folders speak of.

    Args:
        folder: The data set.

    Returns:
        Files of each role and split.
    """
    groups = Groups()
    others = {'': other_kinds(PICTURE_SUFFIXES), 'labels': other_kinds((*PICTURE_SUFFIXES, *LABEL_SUFFIXES))}
    for place, path in _files(folder):
        suffix = path.suffix.lower()
        if suffix not in (LABEL_SUFFIXES if place.role == 'labels' else PICTURE_SUFFIXES):
            groups.left_out[suffix] += suffix in others.get(place.role, others[''])
            continue
        kind = getattr(groups, place.role).setdefault(place.split, Group())
        stem = '/'.join((*place.rest, path.stem))
        before = kind.files.get(stem)
        if before is None:
            kind.files[stem] = path
        elif place.role == 'labels' and is_lossy(path) != is_lossy(before):  # what shows a map lies beside it
            kind.files[stem] = before if is_lossy(path) else path
        else:
            kind.twice.append((before, path))
    groups.left_out = +groups.left_out
    return groups


def _files(folder: Path) -> Iterator[tuple[_Place, Path]]:
    for parent, folders, names in walk(folder):
        relative = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if name.lower() not in OTHER_WORDS]
        if len(relative.parts) >= _DEPTH:
            folders.clear()
        place = _place(relative.parts, folder)
        for name in names:
            yield place, Path(parent, name)


def _place(parts: tuple[str, ...], root: Path) -> _Place:
    role, split, rest = 'plain', '', []
    above = root
    for part in parts:
        said, word, base = _read_part(part, above)
        above = above / part
        split = word or split
        role = said or role
        rest += [base] if base else []
    return _Place(role, split, tuple(rest))


def _read_part(part: str, above: Path) -> tuple[str, str, str]:
    """Role, split and what remains of the name of one folder.

    ``train_masks`` and ``trainannot`` are label maps of ``train``; ``binary_masks`` are label maps, and ``binary``
    remains; ``defaultannot`` are those of ``default`` where that stands beside it.
    """
    low = part.lower()
    for role, words in _ROLES:
        if low in words:
            return role, '', ''
    tokens = [token for token in re.split(r'[ _.-]+|(?<=[a-z])(?=[A-Z])', part) if token]
    split = next((_SPLIT_WORDS[t.lower()] for t in tokens if t.lower() in _SPLIT_WORDS), '')
    role = next((role for role, words in _ROLES for t in tokens if t.lower() in words), '')
    if role or len(tokens) == 1 and split:
        known = _SPLIT_WORDS.keys() | PICTURE_WORDS | LABEL_WORDS
        return role, split, '_'.join(token for token in tokens if token.lower() not in known)
    for role, words in _ROLES:
        for word in words:
            base = low.removesuffix(word)
            if base in _SPLIT_WORDS:
                return role, _SPLIT_WORDS[base], ''
            beside = above / part[: len(base)]
            if role == 'labels' and base != low and base and beside.is_dir():
                return role, '', beside.name
    return '', '', part
