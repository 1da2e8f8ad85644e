"""Colours of public sets, for label maps of colours without a list beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denseclip.datasets.camvid import CamVidDataset
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.files import UnreadableFileError, open_picture
from denseclip.datasets.own_data.class_files import ClassFile
from denseclip.datasets.own_data.map_files import Colour, listed_colours

AUTO = 'auto'
_ENOUGH = 3  # colours besides black that a guess needs: two are in many palettes by chance
_MOST = 300  # a picture has more colours than any palette
_BLACK = (0, 0, 0)
_BORDER = (224, 224, 192)  # of VOC's objects

_CAMVID: Mapping[str, Colour] = {
    'animal': (64, 128, 64),
    'archway': (192, 0, 128),
    'bicyclist': (0, 128, 192),
    'bridge': (0, 128, 64),
    'building': (128, 0, 0),
    'car': (64, 0, 128),
    'cart, luggage or pram': (64, 0, 192),
    'child': (192, 128, 64),
    'pole': (192, 192, 128),
    'fence': (64, 64, 128),
    'lane marking': (128, 0, 192),
    'other lane marking': (192, 0, 64),
    'text': (128, 128, 64),
    'motorcycle or scooter': (192, 0, 192),
    'other moving thing': (128, 64, 64),
    'parking block': (64, 192, 128),
    'pedestrian': (64, 64, 0),
    'road': (128, 64, 128),
    'road shoulder': (128, 128, 192),
    'sidewalk': (0, 0, 192),
    'sign symbol': (192, 128, 128),
    'sky': (128, 128, 128),
    'SUV or pickup truck': (64, 128, 192),
    'traffic cone': (0, 0, 64),
    'traffic light': (0, 64, 64),
    'train': (192, 64, 128),
    'tree': (128, 128, 0),
    'truck or bus': (192, 128, 192),
    'tunnel': (64, 0, 64),
    'vegetation': (192, 192, 0),
    'wall': (64, 192, 0),
}
_CITYSCAPES_IGNORED: Sequence[Colour] = (
    _BLACK,
    (111, 74, 0),  # dynamic
    (81, 0, 81),  # ground
    (250, 170, 160),  # parking
    (230, 150, 140),  # rail track
    (180, 165, 180),  # guard rail
    (150, 100, 100),  # bridge
    (150, 120, 90),  # tunnel
    (0, 0, 90),  # caravan
    (0, 0, 110),  # trailer
)
PALETTES = ('camvid', 'camvid11', 'cityscapes', 'voc')
"""Names that ``--colors`` takes: CamVid's 31 classes, its 11 of the SegNet tutorial, Cityscapes' 19
that are scored, and VOC's 21."""


@dataclass(frozen=True)
class Palette:
    """Colours of a set.

    Attributes:
        classes: Name of each class.
        colours: Colour of each class.
        ignored: Colours that are no class.
    """

    classes: Sequence[str]
    colours: Sequence[Colour]
    ignored: Sequence[Colour] = (_BLACK,)

    def holds(self, found: Iterable[Colour]) -> bool:
        """Whether all colours are of this set."""
        return {*found} <= {*self.colours, *self.ignored}

    def begins_with(self, found: Iterable[Colour]) -> bool:
        """Whether the colours are the first ones of the set, and not all: many tools number any classes so."""
        count = len({*found} - {*self.ignored})
        return {*found} - {*self.ignored} == {*self.colours[:count]} and count < len(self.colours)


def palette(name: str) -> Palette:
    """A known palette.

    Args:
        name: One of :data:`PALETTES`.

    Raises:
        ConversionError: There is none of this name.
    """
    from mmseg.datasets import CityscapesDataset, PascalVOCDataset

    if name == 'camvid':
        return Palette([*_CAMVID], [*_CAMVID.values()])
    sets = {
        'camvid11': (CamVidDataset, (_BLACK,)),
        'cityscapes': (CityscapesDataset, _CITYSCAPES_IGNORED),
        'voc': (PascalVOCDataset, (_BORDER,)),
    }
    if name not in sets:
        raise ConversionError(f'--colors {name}: no palette is called so; there are {", ".join(PALETTES)}')
    known, ignored = sets[name]
    colours = [(r, g, b) for r, g, b in known.METAINFO['palette']]
    return Palette(known.METAINFO['classes'], colours, ignored)


def as_class_file(name: str) -> ClassFile:
    """A known palette as if a file beside the label maps said it.

    Args:
        name: One of :data:`PALETTES`.

    Raises:
        ConversionError: There is none of this name.
    """
    found = palette(name)
    names = dict(enumerate(found.classes))
    colours = dict.fromkeys(found.ignored, 255) | {colour: i for i, colour in enumerate(found.colours)}
    return ClassFile(f'the colours of {name}', names, colours)


def insist(name: str, paths: Iterable[Path]) -> ClassFile:
    """A known palette that was asked for.

    Args:
        name: One of :data:`PALETTES`.
        paths: Label maps.

    Raises:
        ConversionError: There is none of this name, or not one label map has its colours.
    """
    known, first = palette(name), ''
    for path in paths:
        try:
            found = _colours_of(path, ('RGB', 'RGBA', 'P'))
        except UnreadableFileError:
            continue
        if found is not None and known.holds(found):
            return as_class_file(name)
        first = first or f'{path} holds {"ids" if found is None else listed_colours(found)}'
    raise ConversionError(f'--colors {name}: no label map has these colours; {first or "none can be read"}')


def guess(paths: Iterable[Path]) -> str | None:
    """The set whose colours label maps have.

    Args:
        paths: Label maps.

    Returns:
        One of :data:`PALETTES`; None where the files hold ids, or colours of no known set.

    Raises:
        ConversionError: The colours may be those of several sets, or of any set that counts as VOC does.
    """
    found = _colours(paths)
    if found is None or len(found - {_BLACK, _BORDER}) == 0:
        return None
    fitting = [name for name in PALETTES if palette(name).holds(found)]
    if not fitting:
        return None
    said = f'the label maps hold the colours {listed_colours(found)}'
    cure = (
        f'say which with --colors NAME ({" or ".join(fitting)}), or, where they mean something else, put a '
        'labelmap.txt with a line "name:R,G,B::" for each class into the folder of the data set'
    )
    if len(fitting) > 1:
        raise ConversionError(f'{said}, which {" and ".join(fitting)} have; {cure}')
    if len(found - {_BLACK, _BORDER}) < _ENOUGH:
        raise ConversionError(f'{said}, too few to tell that they are those of {fitting[0]}; {cure}')
    if fitting == ['voc'] and palette('voc').begins_with(found):
        raise ConversionError(f"{said}, VOC's first ones, which many tools give to any classes; {cure}")
    return fitting[0]


def _colours(paths: Iterable[Path]) -> set[Colour] | None:
    """All colours; None where a file holds ids or a photograph's many colours, or where all colours are greys."""
    found: set[Colour] = set()
    for path in paths:
        try:
            here = _colours_of(path, ('RGB', 'RGBA'))
        except UnreadableFileError:
            continue  # named by whoever reads it for its ids
        if here is None:
            return None
        found |= here
        if len(found) > _MOST:
            return None
    return None if all(r == g == b for r, g, b in found) else found


def _colours_of(path: Path, modes: Collection[str]) -> set[Colour] | None:
    """Colours of a label map; None where it is of another mode, so that it holds ids."""
    with open_picture(path) as image:
        if image.mode not in modes:
            return None
        pixels = np.asarray(image.convert('RGB')).astype(np.int32)
    keys = np.unique(pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2])
    return {(key >> 16, key >> 8 & 255, key & 255) for key in keys.tolist()}
