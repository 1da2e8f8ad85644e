"""Data sets of label maps in any layout that ``new-dataset`` accepts, and what each pixel of them is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ('sky', 'road', 'tree', 'red car', 'pole')
COLOURS = ((0, 0, 0), (128, 64, 128), (107, 142, 35), (0, 0, 142), (153, 153, 153))
PLACES = {
    'camvid': ('{split}', '{split}annot'),
    'split last': ('images/{split}', 'masks/{split}'),
    'split first': ('{split}/Images', '{split}/Labels'),
    'split in the word': ('imgs_{split}', '{split}_masks'),
    'cities': ('leftImg8bit/{split}/aachen', 'gtFine/{split}/aachen'),
    'shared label maps': ('images/{split}', 'annotations'),
    'one folder a split': ('{split}', '{split}'),
    'flat': ('images', 'masks'),
    'wrapped': ('mine/JPEGImages', 'mine/SegmentationClass'),
    'one folder': ('', ''),
    'words of several parts': ('raw_images_{split}', '{split}-binary-masks'),
    'default of CVAT': ('default', 'defaultannot'),
    'jpeg and png': ('{split}', '{split}'),
    'voc lists': ('JPEGImages', 'SegmentationClass'),
    'voc default': ('JPEGImages', 'SegmentationClassPNG'),
}
"""Folders of pictures and of label maps."""
SPLIT_WORDS = {'train': ('train', 'training', 'Train'), 'val': ('val', 'valid', 'validation', 'Val')}


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    Attributes:
        place: A key of :data:`PLACES`.
        words: Which word of :data:`SPLIT_WORDS` stands for a split.
        ending: What label maps' names add.
        suffixes: Of the pictures, taken in turn.
        label_suffix: Of the label maps.
        kind: ``'grey'``, ``'palette'``, ``'deep'`` (16 bits), ``'grey in rgb'``, or colours: ``'rgb'``, ``'rgba'``,
            ``'colour palette'``.
        ids: Id of each class of :data:`NAMES`, as far as they go.
        void: Id of what is no class, or none.
        colour_file: Which file says the colours.
        turned: Whether some pictures carry an EXIF orientation.
        count: Pictures of each split.
    """

    place: str = 'split last'
    words: int = 0
    ending: str = ''
    suffixes: tuple[str, ...] = ('.png',)
    label_suffix: str = '.png'
    kind: str = 'grey'
    ids: tuple[int, ...] = (0, 1, 2)
    void: int | None = 255
    colour_file: str = 'labelmap.txt'
    turned: bool = False
    count: int = 3

    @property
    def coloured(self) -> bool:
        """Whether label maps hold colours."""
        return self.kind in ('rgb', 'rgba', 'colour palette')

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return NAMES[: len(self.ids)]

    def options(self) -> dict[str, object]:
        """What ``new_dataset`` must be told."""
        if self.coloured:
            return {}
        ignore = [] if self.void in (None, 255) else [str(self.void)]
        plain = [i for i in range(len(self.ids) + 1) if i != self.void][: len(self.ids)]
        told = {} if plain == list(self.ids) else {'ids': self.ids}
        return {'classes': '; '.join(self.names), 'ignore': ignore, **told}


def write(root: Path, layout: Layout, seed: int = 0) -> dict[Path, np.ndarray]:
    """Write a data set.

    Args:
        root: Its folder.
        layout: How it lies there.
        seed: Of the contents.

    Returns:
        The class of each pixel, 255 for none, by picture.
    """
    rng = np.random.default_rng(seed)
    truth = {}
    for split in ('train', 'val'):
        word = SPLIT_WORDS[split][layout.words % len(SPLIT_WORDS[split])]
        names = []
        for number in range(layout.count):
            name = f'{split[0]} {number:02d}.x'
            suffix = '.jpg' if layout.place == 'jpeg and png' else layout.suffixes[number % len(layout.suffixes)]
            folders = [root / part.format(split=word) for part in PLACES[layout.place]]
            picture = folders[0] / f'{name}{"_leftImg8bit" if layout.place == "cities" else ""}{suffix}'
            label_suffix = '.png' if layout.place == 'jpeg and png' else layout.label_suffix
            labels = folders[1] / f'{name}{_ending(layout)}{label_suffix}'
            classes = rng.integers(0, len(layout.ids), (6, 8), dtype=np.uint8)
            classes.flat[: len(layout.ids)] = range(len(layout.ids))  # each class in each picture
            if layout.void is not None:
                classes[-1, rng.integers(0, 8)] = 255
            _save_picture(picture, classes.shape, rng, turned=layout.turned and number % 2 == 0)
            labels.parent.mkdir(parents=True, exist_ok=True)
            _save_labels(labels, classes, layout)
            truth[picture] = classes
            names.append(name)
        if layout.place.startswith('voc'):
            _list(root, 'default' if layout.place == 'voc default' else split, names)
    if layout.coloured:
        _write_colours(root, layout)
    return truth


def _ending(layout: Layout) -> str:
    if layout.place == 'cities':
        return '_gtFine_labelIds'
    if layout.place == 'jpeg and png':
        return ''
    if layout.place.startswith('one folder') and layout.ending in ('', '_own'):
        return '_mask'  # without an ending that is known a label map there would be one more picture
    return layout.ending


def _save_picture(path: Path, size: tuple[int, int], rng: np.random.Generator, *, turned: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if turned:
        exif[0x0112] = 6
    shape = size[::-1] if turned else size
    Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path, exif=exif)


def _save_labels(path: Path, classes: np.ndarray, layout: Layout) -> None:
    void = 255 if layout.void is None else layout.void
    table = np.full(256, void, dtype=np.int32)
    table[: len(layout.ids)] = layout.ids
    if layout.coloured:
        colours = np.full((256, 3), (224, 224, 192), dtype=np.uint8)
        colours[: len(layout.ids)] = COLOURS[: len(layout.ids)]
        image = Image.fromarray(colours[classes])
        if layout.kind == 'colour palette':
            image = image.quantize(16, dither=Image.Dither.NONE)
        elif layout.kind == 'rgba':
            image.putalpha(255)
        image.save(path)
        return
    ids = table[classes]
    if layout.kind == 'deep':
        Image.fromarray(ids.astype(np.uint16)).save(path)
        return
    image = Image.fromarray(ids.astype(np.uint8))
    if layout.kind == 'palette':
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tolist())
    elif layout.kind == 'grey in rgb':
        image = Image.merge('RGB', [image] * 3)
    image.save(path)


def _list(root: Path, name: str, names: list[str]) -> None:
    path = root / 'ImageSets/Segmentation' / f'{name}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ''
    path.write_text(before + ''.join(f'{entry}\n' for entry in names))


def _write_colours(root: Path, layout: Layout) -> None:
    entries = list(zip(layout.names, COLOURS, strict=False))
    if layout.colour_file == 'labelmap.txt':
        lines = ['# label:color_rgb:parts:actions', *(f'{n}:{r},{g},{b}::' for n, (r, g, b) in entries)]
    elif layout.colour_file == 'label_colors.txt':
        lines = [f'{r} {g} {b}\t\t{n}' for n, (r, g, b) in entries]
    else:
        lines = ['name,r,g,b', *(f'{n},{r},{g},{b}' for n, (r, g, b) in entries)]
    (root / layout.colour_file).write_text('\n'.join(lines))
