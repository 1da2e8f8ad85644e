"""Boxes and masks in COCO's format whose labels follow the names of the categories.

MMDetection's ``CocoDataset`` gives class ``i`` to the ``i``-th category of the file that the class list holds, whatever
that category is called: a file that lists its categories in another order, or lacks one of them, trains under wrong
names without a word.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.registry import DATASETS

from denseclip.datasets.coco_json import category_names, ids_by_name, read_coco


def shifted_label(dataset: Any) -> tuple[str, str] | None:
    """A name that MMDetection's own data set gets wrong by going by positions.

    Args:
        dataset: Any data set.

    Returns:
        The name of a category, and the one that its objects are trained as; None where labels are right, and for data
        sets that go by names or read their files in a way of their own.

    Raises:
        UnreadableFileError: The annotation file is damaged.
    """
    if not isinstance(dataset, CocoDataset) or type(dataset).load_data_list is not CocoDataset.load_data_list:
        return None
    classes = [str(name) for name in dataset.metainfo['classes']]
    used = [name for name in category_names(dataset.ann_file) if name in classes]
    return next((pair for pair in zip(used, [*classes, *used], strict=False) if pair[0] != pair[1]), None)


class NamedCOCO(COCO):
    """An annotation file in memory; asked for the ids of names, it answers in the order of the names.

    Args:
        annotation_file: JSON file in COCO's format, in UTF-8.

    Raises:
        UnreadableFileError: The file is missing, cut off, or lacks a key.
    """

    def __init__(self, annotation_file: str | Path) -> None:
        super().__init__(None)
        self.source = str(annotation_file)
        self.dataset = read_coco(annotation_file, objects=False)
        self.createIndex()

    def get_cat_ids(self, cat_names: Sequence[str] = (), sup_names: Any = (), cat_ids: Any = ()) -> list[Any]:
        """Ids of categories.

        Args:
            cat_names: Names to look for; without them see pycocotools' ``getCatIds``.
            sup_names: See there.
            cat_ids: See there.

        Returns:
            One id for each name; None for a name that the file does not have.
        """
        if not cat_names:
            return list(super().get_cat_ids(cat_names, sup_names, cat_ids))
        known = ids_by_name(self.dataset, self.source)
        return [known.get(str(name)) for name in cat_names]

    def createIndex(self) -> None:
        """Index the entries, without pycocotools' lines on standard output."""
        with contextlib.redirect_stdout(io.StringIO()):
            super().createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs  # MMDetection's names for them


@DATASETS.register_module()
class NamedCocoDataset(CocoDataset):
    """A data set in COCO's format in which a box has the label of its category's *name* in ``metainfo.classes``.

    A class that the file does not have is absent there, boxes of other categories are left out; ids may start anywhere,
    have gaps and stand in any order. So several files with different parts of the classes can be concatenated. Score
    with ``NamedCocoMetric``. Arguments as of MMDetection's ``CocoDataset``.

    Raises:
        UnreadableFileError: The annotation file is missing, cut off, or lacks a key.
        ValueError: Two of its categories have one name.
    """

    COCOAPI = NamedCOCO
    cat_ids: list[Any]
    cat2label: dict[Any, int]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Samples of the annotation file.

        Returns:
            As of ``CocoDataset``, with labels by name.
        """
        data_list: list[dict[str, Any]] = super().load_data_list()
        labels: dict[Any, int] = {cat_id: place for place, cat_id in enumerate(self.cat_ids) if cat_id is not None}
        self.cat2label, self.cat_ids = labels, list(labels)
        return data_list
