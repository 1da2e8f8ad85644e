"""Anomaly data sets: MVTec AD, VisA, Magnetic-tile defects, and folders of one's own.

Papers: Bergmann et al., "MVTec AD", CVPR 2019 / IJCV 2021; Zou et al., "SPot-the-Difference Self-Supervised
Pre-training for Anomaly Detection and Segmentation" (VisA), ECCV 2022; Huang et al., "Surface defect saliency of
magnetic tile", 2018.
MVTec AD and VisA are CC BY-NC-SA 4.0; none of the sets comes with the suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from denseclip.datasets.anomaly_layouts import (
    NORMAL_NAMES,
    SPLITS,
    Entry,
    folder_mask_places,
    list_folder,
    list_magnetic_tile,
    list_mvtec,
    list_visa,
    magnetic_tile_folders,
    mvtec_mask_places,
)


class AnomalyDataset(BaseDataset):
    """Base of the anomaly data sets.

    Samples have ``img_path``; ``mask_path`` (``''`` for normal pictures and where there is no mask) and
    ``mask_threshold``; ``gt_label`` (1 with a defect); ``category``, ``object_name`` and ``defect_type`` (words).

    Args:
        data_root: Folder of the data set.
        split: ``'train'`` or ``'test'``. Zero-shot methods read ``'test'`` only.
        categories: Which to read; None for all.
        object_names: What prompts call a category; by default its folder's name as it stands, as AnoVL's scripts do.
        plain_words: Write underscores of folder names as spaces (``metal_nut`` becomes ``metal nut``).
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes.

    Raises:
        ValueError: If the split is unknown.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(
        classes=('normal', 'anomalous'), palette=[[120, 120, 120], [220, 20, 60]], task='anomaly'
    )
    OBJECT_NAMES: ClassVar[dict[str, str]] = {}
    """Words for categories whose folder's name is not one."""

    def __init__(
        self,
        data_root: str | Path,
        split: str = 'test',
        categories: Sequence[str] | None = None,
        object_names: Mapping[str, str] | None = None,
        plain_words: bool = False,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split {split!r} is unknown; choose from {", ".join(SPLITS)}')
        self.split = split
        self.categories = None if categories is None else tuple(categories)
        self.object_names = {**self.OBJECT_NAMES, **(object_names or {})}
        self.plain_words = plain_words
        super().__init__(data_root=str(data_root), **kwargs)

    @property
    def root(self) -> Path:
        """The folder of the data set."""
        return Path(self.data_root)

    def entries(self) -> list[Entry]:
        """Pictures of the split, in a fixed order."""
        raise NotImplementedError

    def mask_places(self) -> list[tuple[Path, Path]]:
        """Folders of masks, each with the folder of its pictures; the audit looks for masks without one."""
        return []

    def object_name(self, category: str) -> str:
        """Words for a category."""
        return self.object_names.get(category, category.replace('_', ' ') if self.plain_words else category)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Samples as dicts; MMEngine calls this.

        Raises:
            FileNotFoundError: If the split has no picture.
        """
        entries = self.entries()
        if not entries:
            raise FileNotFoundError(f"'{self.data_root}' has no picture in the split '{self.split}'")
        return [
            dict(
                img_path=str(entry.image),
                mask_path=str(entry.mask or ''),
                mask_threshold=entry.threshold,
                gt_label=int(entry.anomalous),
                category=entry.category,
                object_name=self.object_name(entry.category),
                defect_type=entry.defect,
            )
            for entry in entries
        ]


@DATASETS.register_module()
class MVTecADDataset(AnomalyDataset):
    """MVTec AD: 15 categories, test set of 1,725 pictures.

    See :func:`~denseclip.datasets.anomaly_layouts.list_mvtec`.
    """

    def entries(self) -> list[Entry]:
        """Pictures of the split, in a fixed order."""
        return list_mvtec(self.root, self.split, self.categories)

    def mask_places(self) -> list[tuple[Path, Path]]:
        """``ground_truth`` of each category."""
        return mvtec_mask_places(self.root, self.categories) if self.split == 'test' else []


@DATASETS.register_module()
class VisADataset(AnomalyDataset):
    """VisA: 12 categories, test set of 2,162 pictures; as published and as anomalib rewrites it (``visa_pytorch``).

    Args:
        split_file: Table of the published layout, relative to ``data_root``. Where it is missing, the other layout is
            read.
        **kwargs: See :class:`AnomalyDataset`.
    """

    OBJECT_NAMES: ClassVar[dict[str, str]] = {'macaroni1': 'macaroni', 'macaroni2': 'macaroni'}

    def __init__(self, *args: Any, split_file: str = 'split_csv/1cls.csv', **kwargs: Any) -> None:
        self.split_file = split_file
        super().__init__(*args, **kwargs)

    def entries(self) -> list[Entry]:
        """Pictures of the split, in a fixed order."""
        if (self.root / self.split_file).is_file():
            return list_visa(self.root, self.split, self.categories, self.split_file)
        if any(self.root.glob('*/test/good')):
            return list_mvtec(self.root, self.split, self.categories)
        raise FileNotFoundError(
            f"'{self.data_root}' holds neither {self.split_file} (VisA as published) nor CATEGORY/test/good (rewritten)"
        )


@DATASETS.register_module()
class MagneticTileDataset(AnomalyDataset):
    """Magnetic-tile defects: 952 pictures without, 392 with a defect of five kinds, pixel masks, all in the test split.

    Masks are grey; what is brighter than 127 counts (``LoadAnomalyMask(threshold=127)``).
    """

    CATEGORY = 'magnetic_tile'
    OBJECT_NAMES: ClassVar[dict[str, str]] = {CATEGORY: 'magnetic tile'}

    def entries(self) -> list[Entry]:
        """All pictures; there is no training split."""
        return list_magnetic_tile(self.root, self.CATEGORY) if self.split == 'test' else []

    def mask_places(self) -> list[tuple[Path, Path]]:
        """The folders of the pictures."""
        return [(folder, folder) for folder in magnetic_tile_folders(self.root)] if self.split == 'test' else []


@DATASETS.register_module()
class AnomalyFolderDataset(AnomalyDataset):
    """A folder of one's own: ``normal/``, a folder for each kind of defect, optionally ``masks/``.

    See :func:`~denseclip.datasets.anomaly_layouts.list_folder`. Everything is the test split.

    Args:
        object_name: What the pictures show, in words.
        normal: Names of the folders without defects.
        **kwargs: See :class:`AnomalyDataset`.
    """

    def __init__(
        self, *args: Any, object_name: str = 'object', normal: Sequence[str] = NORMAL_NAMES, **kwargs: Any
    ) -> None:
        self.shown = object_name
        self.normal = tuple(normal)
        super().__init__(*args, **kwargs)

    def entries(self) -> list[Entry]:
        """All pictures; there is no training split."""
        return list_folder(self.root, self.shown, self.normal) if self.split == 'test' else []

    def mask_places(self) -> list[tuple[Path, Path]]:
        """``masks`` and the like."""
        return folder_mask_places(self.root) if self.split == 'test' else []
