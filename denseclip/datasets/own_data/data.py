"""What a data set of somebody's own is, whatever layout it came in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conversion:
    """How files that have to be made are made.

    Attributes:
        target: Folder of the made files.
        val_share: Part of the pictures to validate on, 0..1, where the data set is not split.
        force: Replace ``target`` when it exists.
        crowds: What becomes of ``iscrowd: 1``, one of :data:`~denseclip.datasets.own_data.mend.CROWDS`.
        corners: How VOC-XML files count pixels, one of :data:`~denseclip.datasets.own_data.voc.CORNERS`.
    """

    target: Path
    val_share: float = 0.2
    force: bool = False
    crowds: str = 'auto'
    corners: str = 'auto'


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
        masks: Whether objects have masks.
        size: Median width and height of the training pictures.
        notes: What was done to the files on the way, a line each.
    """

    splits: dict[str, BoxSplit]
    classes: tuple[str, ...]
    masks: bool
    size: tuple[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelMapSplit:
    """One split of a data set with label maps: folders of pictures and of label maps of the same names."""

    pictures: Path
    labels: Path


@dataclass(frozen=True)
class LabelMapData:
    """A data set with label maps.

    Attributes:
        splits: ``train``, ``val`` and perhaps ``test``.
        picture_suffix: Such as ``.jpg``.
        label_suffix: Such as ``.png``.
        ids: Ids in the first label maps of the training split, without 255.
    """

    splits: dict[str, LabelMapSplit]
    picture_suffix: str
    label_suffix: str
    ids: tuple[int, ...]
