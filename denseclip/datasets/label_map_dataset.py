"""Label maps of somebody's own, where folders and suffixes alone do not say what is what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.files import read_label_map

NO_CLASS = 254
"""What an id of the files becomes that is neither a class nor ignored, so that it can never be taken for another."""


class ListingError(ValueError):
    """A listing cannot be read."""


@DATASETS.register_module()
class LabelMapDataset(BaseSegDataset):
    """Label maps whose classes have any ids, in folders or in a listing of pairs.

    Args:
        ann_file: A listing that ``denseclip new-dataset`` made: JSON with ``pairs`` (picture and label map, relative to
            ``data_prefix``) and ``problems`` (kind, message and perhaps path of what could not be paired or read).
            Without it the folders are listed as :class:`mmseg.datasets.BaseSegDataset` does.
        class_ids: Id of each class in the files, in the order of the classes; by default ``0, 1, 2, ...``.
        ignore_ids: Ids that are no class. 255 is ignored too, unless it is one of ``class_ids``.
        lazy_init: Do not read the listing yet.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.

    Raises:
        ValueError: If the ids do not fit the classes.
        ListingError: If the listing is missing or damaged.
    """

    def __init__(
        self,
        ann_file: str = '',
        class_ids: Sequence[int] = (),
        ignore_ids: Sequence[int] = (),
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(ann_file=ann_file, lazy_init=True, **kwargs)
        self.listed_problems: list[Problem] = []
        self._classes_in: dict[int, list[int]] = {}
        count = len(self._metainfo.get('classes') or ())
        ids = tuple(class_ids) or tuple(range(count))
        if len(ids) != count or len(set(ids)) != count or set(ids) & set(ignore_ids):
            raise ValueError(
                f'LabelMapDataset: {count} classes need {count} different class_ids that are not in ignore_ids; '
                f'got class_ids={list(ids)}, ignore_ids={list(ignore_ids)}'
            )
        self.label_map = label_map(ids, ignore_ids, self.ignore_index)
        self._metainfo['label_map'] = self.label_map
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> list[dict[str, Any]]:
        """Samples of the listing, or of the folders."""
        if not self.ann_file:
            return super().load_data_list()
        try:
            content = json.loads(Path(self.ann_file).read_text(encoding='utf-8'))
            pairs = [(str(picture), str(labels)) for picture, labels in content['pairs']]
            self.listed_problems = [Problem(p['kind'], p['message'], p.get('path', '')) for p in content['problems']]
        except FileNotFoundError:
            raise ListingError(f'{self.ann_file}: no such file; run denseclip new-dataset again') from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ListingError(f'{self.ann_file}: is no listing of pictures and label maps ({error!r})') from error
        pictures, maps = Path(self.data_prefix['img_path']), Path(self.data_prefix['seg_map_path'])
        return [
            {
                'img_path': str(pictures / picture),
                'seg_map_path': str(maps / labels),
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            for picture, labels in pairs
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes in a label map, which MMEngine's ``ClassBalancedDataset`` asks for.

        Args:
            idx: Place of the sample.

        Returns:
            The labels that its pixels are trained as, without those that are ignored.

        Raises:
            UnreadableFileError: The label map is damaged.
        """
        if idx not in self._classes_in:  # the wrapper asks twice
            ids = np.unique(read_label_map(self.get_data_info(idx)['seg_map_path'])).tolist()
            labels = {loader_id(i, self.reduce_zero_label, self.label_map) for i in ids}
            self._classes_in[idx] = sorted(labels & {*range(len(self._metainfo['classes']))})
        return self._classes_in[idx]


def label_map(class_ids: Sequence[int], ignore_ids: Sequence[int] = (), ignore_index: int = 255) -> dict[int, int]:
    """The mapping of ids that mmseg's ``LoadAnnotations`` applies.

    Args:
        class_ids: Id of each class in the files.
        ignore_ids: Ids that are no class.
        ignore_index: What they become.

    Returns:
        New id by id of the files, as far as they differ. An id below the number of classes that is neither a class nor
        ignored becomes :data:`NO_CLASS`, so that checks find it.
    """
    table = dict.fromkeys(range(len(class_ids)), NO_CLASS)
    table |= dict.fromkeys(ignore_ids, ignore_index) | {i: label for label, i in enumerate(class_ids)}
    if max(table.values(), default=0) == NO_CLASS and len(class_ids) > NO_CLASS:
        raise ValueError(f'LabelMapDataset: ids with gaps allow {NO_CLASS} classes, got {len(class_ids)}')
    return {old: new for old, new in table.items() if old != new}


def loader_id(file_id: int, reduce_zero_label: bool, label_map: Mapping[int, int] | None) -> int:
    """Id that training sees for an id of a file, as ``mmseg``'s ``LoadAnnotations`` maps it.

    Args:
        file_id: Id as it stands in the label map.
        reduce_zero_label: Whether 0 is ignored and the rest shifted down by one.
        label_map: Further mapping of the shifted ids, or ``None``.

    Returns:
        The mapped id; ids above 255, which the loader would cut to a byte without a word, stay as they are.
    """
    if file_id > 255:
        return file_id
    if reduce_zero_label:
        # 255 stays 255: the loader keeps it apart from the shift
        file_id = 255 if file_id in (0, 255) else file_id - 1
    return (label_map or {}).get(file_id, file_id)


def write_listing(path: Path, pairs: Sequence[tuple[str, str]], problems: Sequence[Problem] = ()) -> None:
    """Write a listing for :class:`LabelMapDataset`.

    Args:
        path: The file.
        pairs: Picture and label map of each sample, relative to the folders of ``data_prefix``.
        problems: What should be said by every audit.
    """
    said = [{'kind': p.kind, 'message': p.message, 'path': p.path} for p in problems]
    path.write_text(json.dumps({'pairs': pairs, 'problems': said}, indent=1), encoding='utf-8')
