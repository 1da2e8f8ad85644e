"""Label maps in folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.converters.voc_boxes import PICTURE_SUFFIXES
from denseclip.datasets.files import UnreadableFileError, image_size, read_label_map
from denseclip.datasets.own_data.data import LabelMapData, LabelMapSplit
from denseclip.datasets.own_data.splits import ALIASES

LABEL_FOLDERS = ('masks', 'labels', 'annotations', 'annot', 'label')
_SAMPLE = 200  # label maps that are read to learn which ids occur


def label_map_splits(folder: Path) -> dict[str, LabelMapSplit]:
    """Pairs of folders by split."""
    found: dict[str, LabelMapSplit] = {}
    for split, words in ALIASES.items():
        for word in words:
            pairs = [(folder / word, folder / f'{word}{ending}') for ending in ('annot', '_labels', '_masks')]
            pairs += [(folder / 'images' / word, folder / name / word) for name in LABEL_FOLDERS]
            pair = next((LabelMapSplit(*pair) for pair in pairs if pair[0].is_dir() and pair[1].is_dir()), None)
            if pair:
                found.setdefault(split, pair)
    return found


def from_label_maps(folder: Path, splits: dict[str, LabelMapSplit]) -> LabelMapData:
    """A data set of label maps, its suffixes and ids."""
    lacking = [split for split in ('train', 'val') if split not in splits]
    if lacking:
        raise ConversionError(
            f'{folder}: found {", ".join(splits)} but no {" and no ".join(lacking)} with pictures and label maps'
        )
    train = splits['train']
    pictures = _common_suffix(train.pictures, PICTURE_SUFFIXES)
    labels = _common_suffix(train.labels, ('.png', '.tif', '.tiff', '.bmp'))
    ids: set[int] = set()
    for path in _first(train.labels, labels):
        try:
            ids.update(np.unique(read_label_map(path)).tolist())
            image_size(train.pictures / f'{path.name.removesuffix(labels)}{pictures}')
        except UnreadableFileError as error:
            raise ConversionError(str(error)) from error
    return LabelMapData(splits, pictures, labels, tuple(sorted(ids - {255})))


def _first(folder: Path, suffix: str) -> Iterator[Path]:
    for place, path in enumerate(sorted(folder.glob(f'*{suffix}'))):
        if place == _SAMPLE:
            return
        yield path


def _common_suffix(folder: Path, allowed: tuple[str, ...]) -> str:
    """The suffix of most files of a folder."""
    counts = Counter(path.suffix for path in folder.iterdir() if path.suffix.lower() in allowed)
    if not counts:
        raise ConversionError(f'{folder}: holds no file that ends in {", ".join(allowed)}')
    return counts.most_common(1)[0][0]
