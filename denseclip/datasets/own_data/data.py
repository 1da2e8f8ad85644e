"""What a data set of somebody's own is, whatever layout it came in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.own_data.map_files import MapReader

_STRANGE = -2  # in a table of classes by id: neither a class nor ignored


class Reading(TypedDict, total=False):
    """How a folder is to be read; what is left out is the default of :class:`Conversion`.

    Attributes:
        converted: Where files go that have to be made: COCO's format from other layouts, from several files, for a set
            that is not split, and where a file has to be mended; label maps of ids from colours, and lists of pictures
            and label maps. By default the folder's name with ``_coco``, or ``_maps``.
        kind: ``'boxes'`` or ``'label maps'``, where a folder holds both; by default boxes are read.
        val_share: Part of the pictures to validate on, 0..1, where the data set is not split; None (label maps alone):
            none.
        crowds: What becomes of ``iscrowd: 1``, by which training and scores leave objects out: ``auto`` takes it off
            where a class has nothing else, ``objects`` everywhere, ``keep`` nowhere.
        corners: Whether VOC-XML files count pixels from ``0`` or ``1``; ``auto`` looks into them.
        ids: Ids of the classes in label maps, in the order of the names, such as ``(0, 255)``; by default all that are
            not ignored.
        ignore: Ids in label maps (or names, where a file says them) that are no class; 255 is none unless ``ids`` says
            so.
        colors: Set whose colours label maps have (``camvid``, ``cityscapes``, ``voc`` ...); ``auto``: a list beside
            them says what they mean, or the colours do where they are those of one known set only.
    """

    converted: str | Path | None
    kind: str | None
    val_share: float | None
    crowds: str
    corners: str
    ids: Sequence[int]
    ignore: Sequence[str]
    colors: str


@dataclass(frozen=True)
class Conversion:
    """How files that have to be made are made; see :class:`Reading` for what is not said here.

    Attributes:
        source: The data set, which nothing is written into.
        target: Folder of the made files.
        force: Replace ``target`` when it exists and we made all of it.
        check: Called with label maps as they were recognised, before anything is made; may raise.
    """

    source: Path
    target: Path
    val_share: float | None = 0.2
    force: bool = False
    crowds: str = 'auto'
    corners: str = 'auto'
    ids: tuple[int, ...] = ()
    ignore: tuple[str, ...] = ()
    colors: str = 'auto'
    check: Callable[[Any], object] | None = None


@dataclass(frozen=True)
class BoxSplit:
    """One split of a data set with boxes.

    Attributes:
        ann_file: Annotations in COCO's format.
        pictures: Folder that its file names start from.
    """

    ann_file: Path
    pictures: Path


@dataclass(frozen=True)
class BoxData:
    """A data set with boxes, in COCO's format.

    Attributes:
        splits: ``train``, ``val`` and perhaps ``test``.
        classes: Categories that have boxes in the training split, in the order of their ids.
        maskless: The first object of the training split that has no mask, in words; empty if all have one.
        size: Median width and height of the training pictures.
        notes: What was done to the files on the way, a line each.
    """

    splits: dict[str, BoxSplit]
    classes: tuple[str, ...]
    maskless: str
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> bool:
        """Whether every object of the training split has a mask."""
        return not self.maskless


@dataclass(frozen=True)
class Pair:
    """A picture and its label map, which need not exist."""

    picture: Path
    label: Path


@dataclass(frozen=True)
class LabelMapSplit:
    """One split of a data set with label maps.

    Attributes:
        pictures: Folder of the pictures.
        labels: Folder of the label maps.
        pairs: Pictures and label maps as they came.
        listing: File that lists them for :class:`~denseclip.datasets.label_map_dataset.LabelMapDataset`; ``None`` where
            the folders and the suffixes say everything.
    """

    pictures: Path
    labels: Path
    pairs: tuple[Pair, ...] = ()
    listing: Path | None = None


@dataclass(frozen=True)
class LabelMapData:
    """A data set with label maps.

    Attributes:
        splits: ``train``, ``val`` (unless none was wanted) and perhaps ``test``.
        picture_suffix: Such as ``.jpg`` or ``_leftImg8bit.png``.
        label_suffix: Such as ``.png`` or ``_mask.png``.
        ids: Ids in a sample of the label maps, as training will read them, without those that are ignored.
        with_255: Whether 255 occurs in them.
        names: Of the classes, where a file beside the label maps says them.
        class_ids: Id of each class; empty: in the order of the ids that are not ignored.
        ignored: Ids that are no class; 255 is always ignored unless it is one of ``class_ids``.
        reader: Reads label maps of any kind as these ids.
        look: Says all that is wrong with the files, in words, given the ids that are a class or ignored.
        notes: What was decided and done on the way, a line each.
    """

    splits: dict[str, LabelMapSplit]
    picture_suffix: str
    label_suffix: str
    ids: tuple[int, ...]
    with_255: bool = False
    names: tuple[str, ...] = ()
    class_ids: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    reader: MapReader = MapReader({})
    look: Callable[[Collection[int]], str] | None = None
    notes: tuple[str, ...] = ()

    def ids_of(self, count: int) -> tuple[int, ...]:
        """The id of each of ``count`` classes."""
        if self.class_ids:
            return self.class_ids[:count]
        free = (i for i in range(count + len(self.ignored) + 1) if i not in self.ignored)
        return tuple(islice(free, count))

    def entry(self, split: LabelMapSplit, count: int) -> dict[str, Any]:
        """The part of a data set's config that says where its files are and what their ids mean.

        Args:
            split: One of ``splits``, or one with the same suffixes.
            count: Number of classes.
        """
        folders = {'data_prefix': {'img_path': split.pictures, 'seg_map_path': split.labels}}
        suffixes = {'img_suffix': self.picture_suffix, 'seg_map_suffix': self.label_suffix}
        where = {**folders, **(suffixes if split.listing is None else {'ann_file': split.listing})}
        ids = self.ids_of(count)
        if split.listing is None and ids == tuple(range(count)) and not self.ignored:
            return {'type': 'BaseSegDataset', **where}
        said = {'class_ids': list(ids)} if ids != tuple(range(count)) else {}
        ignored = {'ignore_ids': list(self.ignored)} if self.ignored else {}
        return {'type': 'LabelMapDataset', **where, **said, **ignored}

    def truth(self, count: int) -> Callable[[str], np.ndarray]:
        """What gives the class of each pixel of a picture by its path, read from the files as they came.

        Args:
            count: Number of classes.

        Returns:
            A function; int (H, W), -1 for pixels of no class. It raises ``UnreadableFileError`` where a label map holds
            an id that is neither a class nor ignored.
        """
        labels = {_place(p.picture): p.label for split in self.splits.values() for p in split.pairs}
        table = np.full(256, _STRANGE, dtype=np.int64)
        table[[255, *(i for i in self.ignored if i < 256)]] = -1
        for label, i in enumerate(self.ids_of(count)):
            table[i] = label

        def read(picture: str) -> np.ndarray:
            path = labels[_place(Path(picture))]
            ids = self.reader.read(path)[0]
            if ids.max(initial=0) < 256:
                classes = table[ids]
                if classes.min(initial=0) > _STRANGE:
                    return classes
            strange = [int(i) for i in np.unique(ids) if i > 255 or table[i] == _STRANGE]
            raise UnreadableFileError(
                f'{path}: holds the ids {", ".join(map(str, strange[:10]))}, which are neither a class nor ignored; '
                f'name them, or say which are no class with --ignore {" ".join(map(str, strange[:10]))}'
            )

        return read


def _place(picture: Path) -> Path:
    """One name for a file in a folder, however the folder was reached."""
    return picture.parent.resolve() / picture.name
