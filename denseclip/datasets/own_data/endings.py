"""Which label map belongs to which picture, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.own_data.data import Pair
from denseclip.files.pictures import LABEL_SUFFIXES

LABEL_ENDINGS = (
    '_gtfine_labeltrainids', '_labeltrainids', '_gtfine_labelids', '_labelids', '_mask', '_masks', '_label', '_labels',
    '_gt', '_l', '_p', '_seg', '_segmentation', '_semantic', '_annotation', '_annot', '_anno', '_manual1', '_target',
)  # fmt: skip
"""What data sets add to a picture's name, in lower case, the likeliest first; ``-`` and ``.`` count as ``_``."""

_PICTURE_ENDINGS = ('_leftimg8bit', '_image', '_img', '_rgb', '_sat', '_im')
_PICTURE_BEGINS = ('image_', 'img_', 'picture_', 'photo_')
_LABEL_BEGINS = ('mask_', 'label_', 'labels_', 'gt_', 'seg_', 'annotation_')
_SHOWN = ('color', 'colour', 'vis', 'viz', 'overlay', 'instance', 'depth', 'disparity', 'polygon')  # of no label map


@dataclass
class Matches:
    """Pictures and label maps that belong together.

    Attributes:
        pairs: In the order of the pictures' names; a picture without a label map has the path where it would be.
        orphans: Label maps without a picture.
        ending: What the label maps' names add to those of the pictures.
    """

    pairs: list[Pair] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)
    ending: str = ''


def match(pictures: Mapping[str, Path], labels: Mapping[str, Path]) -> Matches:
    """Find the label map of each picture.

    Names are equal, or all label maps have the same ending after the picture's name (``_mask``, ``_gtFine_labelIds``
    after what precedes ``_leftImg8bit``), or ``image_1`` stands beside ``mask_1``; capital letters matter only where
    they tell two files apart.

    Args:
        pictures: Paths by name without suffix.
        labels: The same of label maps.

    Returns:
        The pairs, and what is left over.

    Raises:
        ConversionError: If no label map belongs to any picture, or two endings fit equally well.
    """
    cores = {core: name for name in sorted(pictures) for core in picture_cores(name)} | {
        name: name for name in pictures
    }
    lower = {core.lower(): core for core in cores}
    by_ending: dict[str, dict[str, Path]] = {}
    endings: dict[str, str] = {}
    strangers = []
    for name, path in labels.items():
        core, ending = (name, '') if name in cores else _core_of(_without_begin(name, _LABEL_BEGINS), cores, lower)
        core, ending = (core, ending) if core is not None else _core_of(name, cores, lower)
        if core is None:
            strangers.append(path)
        else:
            by_ending.setdefault(_plain(ending), {}).setdefault(cores[core], path)
            endings.setdefault(_plain(ending), ending)
    most = max(map(len, by_ending.values()), default=0)
    ending = _choose({ending: found for ending, found in by_ending.items() if 2 * len(found) >= most})
    for other, found in by_ending.items():  # what most pictures have is of another kind, such as colours
        if other != ending and (not other.startswith('_') or 2 * len(found) < most):  # "a10" beside a picture "a1"
            strangers += found.values()
    chosen = by_ending[ending]
    name, path = next(iter(chosen.items()))
    place = path.parent, path.suffix, endings[ending]
    pairs = [Pair(path, chosen.get(name) or _expected(name, *place)) for name, path in sorted(pictures.items())]
    return Matches(pairs, sorted(strangers), endings[ending])


def picture_cores(name: str) -> Iterable[str]:
    """A picture's name, also without what only says that it is a picture, such as ``_leftImg8bit``."""
    yield name
    short = _without_begin(name, _PICTURE_BEGINS)
    low = _plain(short)
    ending = next((e for e in _PICTURE_ENDINGS if low.endswith(e) and len(low) > len(e)), '')
    short = short[: len(short) - len(ending)]
    if short != name:
        yield short


def _without_begin(name: str, begins: tuple[str, ...]) -> str:
    folder, _, stem = name.rpartition('/')
    begin = next((b for b in begins if _plain(stem).startswith(b) and len(stem) > len(b)), '')
    return f'{folder}/{stem[len(begin) :]}' if folder else stem[len(begin) :]


def _plain(text: str) -> str:
    return text.lower().replace('-', '_').replace('.', '_').replace(' ', '_')


def _core_of(name: str, cores: Mapping[str, str], lower: Mapping[str, str]) -> tuple[str | None, str]:
    """The longest core that a label map's name starts with, and the ending after it."""
    for end in range(len(name), 0, -1):
        start = name[:end]
        core = start if start in cores else lower.get(start.lower())
        if core is not None:
            return core, name[end:]
    return None, ''


def _choose(by_ending: Mapping[str, Mapping[str, Path]]) -> str:
    """The ending that marks the label maps."""
    if not by_ending:
        raise ConversionError('none of the label maps has the name of a picture, with or without an ending')

    def rank(ending: str) -> tuple[int, int]:
        if not ending:
            return 0, 0
        if ending in LABEL_ENDINGS:
            return 1, LABEL_ENDINGS.index(ending)
        return (3 if any(word in ending for word in _SHOWN) else 2), 0

    best = min(map(rank, by_ending))
    fitting = sorted(ending for ending in by_ending if rank(ending) == best)
    if len(fitting) > 1:
        listed = ' and '.join(f'NAME{ending}' for ending in fitting)
        raise ConversionError(f'{listed} could all be the label maps; leave only one of them in the folder')
    return fitting[0]


def _expected(name: str, folder: Path, suffix: str, ending: str) -> Path:
    """Where the label map of a picture would be."""
    core = [*picture_cores(name.rpartition('/')[2])][-1 if ending else 0]
    return folder / f'{core}{ending}{suffix}'


def divide_one_folder(
    files: Mapping[str, Path], twice: Iterable[tuple[Path, Path]] = ()
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Pictures and label maps that lie in one folder, told apart by a known ending, or as ``a.jpg`` and ``a.png``.

    Args:
        files: Paths by name without suffix.
        twice: Paths that have such a name in common.

    Returns:
        Pictures and label maps; the latter empty where nothing tells them apart.
    """
    cores = {core for name in files for core in picture_cores(name)}
    labels = {}
    for name, path in files.items():
        low = _plain(name)
        ending = next((e for e in sorted(LABEL_ENDINGS, key=len, reverse=True) if low.endswith(e)), None)
        if ending and name[: len(name) - len(ending)] in cores and path.suffix.lower() in LABEL_SUFFIXES:
            labels[name] = path
    names = {path: name for name, path in files.items()}
    pairs = {names[one]: sorted((one, other), key=_is_png) for one, other in twice if one in names}
    if labels or not files or pairs.keys() != files.keys() or any(_is_png(one) for one, _ in pairs.values()):
        return {name: path for name, path in files.items() if name not in labels}, labels
    return {name: one for name, (one, _) in pairs.items()}, {name: other for name, (_, other) in pairs.items()}


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == '.png'
