"""Data sets in COCO's panoptic format: a JSON file that lists the segments of each picture, and PNGs of their ids.

Layouts::

    coco/                                       as unpacked
    ├── train2017/  val2017/                    pictures
    └── annotations/
        ├── panoptic_val2017.json
        └── panoptic_val2017/                   000000000139.png ...

    ade/ADEChallengeData2016/                   made by denseclip convert ade20k_panoptic
    ├── images/validation/                      ADE_val_00000001.jpg ...
    ├── ade20k_panoptic_val.json
    └── ade20k_panoptic_val/                    ADE_val_00000001.png ...

    cityscapes/                                 made by denseclip convert cityscapes_panoptic
    ├── leftImg8bit/val/CITY/                   ..._leftImg8bit.png
    └── gtFine/
        ├── cityscapes_panoptic_val.json
        └── cityscapes_panoptic_val/            ..._gtFine_panoptic.png
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from mmseg.datasets import ADE20KDataset, CityscapesDataset

from denseclip.clip.things import things_of
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.coco_json import AREA, FILE_NAME, MARKS, NAME, SIZES, Rule, is_id
from denseclip.datasets.converters.cityscapes import SCORED
from denseclip.datasets.miniworld.kinds import metainfo as miniworld_metainfo
from denseclip.datasets.panoptic_names import COCO_PANOPTIC_IDS
from denseclip.recipes import ignored_label
from denseclip.structures.panoptic import VOID
from denseclip.visualization.palette import class_colour

_NEEDED = {
    'images': ('id',),
    'annotations': ('image_id', 'file_name', 'segments_info'),
    'categories': ('id', 'name'),
}


class AnnotationError(ValueError):
    """An annotation file is not in COCO's panoptic format or belongs to another data set."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_NUMBER = 'that is no whole number; write the one of its entry, such as 1'
_RULES: Mapping[str, tuple[Rule, ...]] = {
    'images': (Rule(('id',), 'ids', is_id, 'write a number or text'), FILE_NAME, SIZES),
    'annotations': (
        Rule(('image_id',), 'ids', is_id, 'write the id of its picture'),
        FILE_NAME,
        Rule(('segments_info',), 'ids', lambda value: isinstance(value, list), 'write a list of segments'),
    ),
    'segments': (Rule(('id', 'category_id'), 'ids', _is_whole, _NUMBER), AREA, MARKS),
    'categories': (Rule(('id',), 'ids', _is_whole, _NUMBER), NAME),
}


def _check_entry(where: str, entry: Any, keys: Sequence[str], rules: Iterable[Rule]) -> None:
    """Raise where an entry lacks a key, or a value is not what its key holds."""
    lacking = [key for key in keys if not isinstance(entry, Mapping) or key not in entry]
    if lacking:
        raise AnnotationError(f'{where} has no "{lacking[0]}"; is it in COCO\'s panoptic format?')
    for rule in rules:
        for key in rule.broken(entry):
            raise AnnotationError(f'{where} has {reprlib.repr(entry[key])} as its "{key}"; {rule.wanted}')


@DATASETS.register_module()
class PanopticSegmentsDataset(BaseDataset):
    """Any data set in COCO's panoptic format, its classes those of the file unless ``metainfo`` names others.

    Samples have ``img_path``, ``img_id``, ``seg_map_path`` and ``segments_info``: ``id``, ``category_id`` (the class
    index), ``iscrowd`` and ``area`` of each segment. Segments of classes that the data set does not have are void.
    ``metainfo`` holds ``classes``, ``thing_classes``, ``stuff_classes`` and ``category_ids`` (the file's id of each
    class).

    Which classes are things is said by ``metainfo.thing_classes``, else by the file's ``isthing``. A segment of id 0 is
    void, as panopticapi has it; an ``area`` that the file lacks is counted when its PNG is read.

    MMDetection's panoptic sets take class ``i`` for the ``i``-th category of the file; here classes go by the ids in
    ``METAINFO`` or by name, so that the order of either does not matter.

    Args:
        ann_file: The JSON file, relative to ``data_root``.
        data_prefix: Folders ``img_path`` and ``seg_map_path``, relative to ``data_root``.
        filter_cfg: ``filter_empty_gt=True`` leaves out training pictures without any segment.
        img_suffix: Ending of pictures for files that name PNGs only.
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes.

    Raises:
        AnnotationError: If the file is of another kind or lacks a class.
    """

    METAINFO: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        ann_file: str = '',
        data_prefix: Mapping[str, str] | None = None,
        filter_cfg: dict[str, Any] | None = None,
        img_suffix: str = '.jpg',
        **kwargs: Any,
    ) -> None:
        self.img_suffix = img_suffix
        prefix = dict(data_prefix or {'img_path': '', 'seg_map_path': ''})
        self._given_things: Sequence[str] | None = (kwargs.get('metainfo') or {}).get('thing_classes')
        super().__init__(ann_file=ann_file, data_prefix=prefix, filter_cfg=filter_cfg, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Samples of the annotation file; also completes ``metainfo``."""
        content = self.read_annotations()
        labels = self.set_classes(content['categories'])
        images = {image['id']: image for image in content['images']}
        return [self.sample(annotation, images, labels) for annotation in content['annotations']]

    def read_annotations(self) -> dict[str, list[dict[str, Any]]]:
        """``images``, ``annotations`` and ``categories`` of the annotation file.

        Raises:
            AnnotationError: If it is missing or not in COCO's panoptic format.
        """
        path = Path(self.ann_file)
        if not path.is_file():
            raise AnnotationError(f"annotation file '{path}' does not exist; see denseclip/datasets/panoptic.py")
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise AnnotationError(f'{path}: is no readable JSON ({error})') from error
        lacking = [part for part in _NEEDED if not isinstance(content, dict) or not isinstance(content.get(part), list)]
        if lacking:
            raise AnnotationError(f'{path}: no panoptic annotations (no list of {", ".join(lacking)})')
        for part, keys in _NEEDED.items():
            for place, entry in enumerate(content[part]):
                _check_entry(f'{path}: {part}[{place}]', entry, keys, _RULES[part])
        for place, entry in enumerate(content['annotations']):
            for number, segment in enumerate(entry['segments_info']):
                where = f'{path}: annotations[{place}], segment {number}'
                _check_entry(where, segment, ('id', 'category_id'), _RULES['segments'])
        return content

    def set_classes(self, categories: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """Complete ``metainfo`` and return the label of each category id of the file.

        Raises:
            AnnotationError: If a class has no category, two have one name, or nothing says which classes are things.
        """
        own = self.METAINFO
        if 'category_ids' in own:
            ids = dict(zip(own['classes'], own['category_ids'], strict=True))
        else:
            ids = {c['name']: c['id'] for c in categories}
            if len(ids) < len(categories):
                given = [c['name'] for c in categories]
                twice = sorted({name for name in given if given.count(name) > 1})
                raise AnnotationError(f'{self.ann_file}: several categories are called {", ".join(twice[:10])}')
        names = tuple(self._metainfo.get('classes') or ids)
        listed = {c['id'] for c in categories}
        strange = [name for name in names if ids.get(name) not in listed]
        if strange:
            raise AnnotationError(f'{self.ann_file}: has no category for {", ".join(strange[:10])}')
        things = self._things({ids[name]: name for name in names}, categories)
        self._metainfo.update(
            classes=names,
            thing_classes=tuple(name for name in names if name in things),
            stuff_classes=tuple(name for name in names if name not in things),
            category_ids=tuple(ids[name] for name in names),
        )
        if 'palette' in own:
            colours = dict(zip(own['classes'], own['palette'], strict=True))
            self._metainfo['palette'] = [colours[name] for name in names]
        return {ids[name]: label for label, name in enumerate(names)}

    def _things(self, names: Mapping[int, str], categories: Sequence[Mapping[str, Any]]) -> set[str]:
        """Classes that are countable: those that the config names, else those of the class, else those of the file."""
        given = self._given_things if self._given_things is not None else self.METAINFO.get('thing_classes')
        if given is not None:
            strange = sorted({*(self._given_things or ())} - {*names.values()})
            if strange:
                raise AnnotationError(f'metainfo.thing_classes names {strange[0]!r}, which is none of the classes')
            return set(given)
        unsaid = [names[c['id']] for c in categories if c['id'] in names and 'isthing' not in c]
        if unsaid:
            raise AnnotationError(
                f'{self.ann_file}: does not say whether {", ".join(unsaid[:5])} can be counted ("isthing" is missing); '
                "add it, or name the things in the config: metainfo=dict(thing_classes=('...',)), () if there are none"
            )
        return {names[c['id']] for c in categories if c['id'] in names and c['isthing']}

    def sample(
        self, annotation: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]], labels: Mapping[int, int]
    ) -> dict[str, Any]:
        """One entry of the annotation file as a pipeline takes it.

        Args:
            annotation: The entry.
            images: Those of the file by id.
            labels: Label of each category id.
        """
        image = images.get(annotation['image_id'], {})
        segments = [
            {
                'id': s['id'],
                'category_id': labels[s['category_id']],
                'iscrowd': int(s.get('iscrowd') or 0),
                'area': int(s.get('area') or 0),  # 0: counted when the PNG is read
            }
            for s in annotation['segments_info']
            if s['category_id'] in labels and s['id'] != VOID
        ]
        file_name = image.get('file_name') or Path(annotation['file_name']).stem + self.img_suffix
        return {
            'img_path': self._image_path(file_name),
            'img_id': annotation['image_id'],
            'height': image.get('height'),
            'width': image.get('width'),
            'seg_map_path': str(Path(self.data_prefix['seg_map_path']) / annotation['file_name']),
            'segments_info': segments,
            'ignored_label': ignored_label(len(self.metainfo['classes'])),
            'reduce_zero_label': False,
            'seg_fields': [],
        }

    def _image_path(self, file_name: str) -> str:
        return str(Path(self.data_prefix['img_path']) / file_name)

    def filter_data(self) -> list[dict[str, Any]]:
        """Leave out pictures without a segment where ``filter_cfg`` says so."""
        if self.test_mode or not (self.filter_cfg or {}).get('filter_empty_gt', False):
            return self.data_list
        return [s for s in self.data_list if any(not segment['iscrowd'] for segment in s['segments_info'])]


@DATASETS.register_module()
class COCOPanopticSegments(PanopticSegmentsDataset):
    """COCO 2017 panoptic: 80 things and 53 kinds of stuff, under the names of the suite's list ``coco_panoptic``."""

    METAINFO: ClassVar[dict[str, Any]] = dict(
        classes=Vocabulary.named('coco_panoptic').names,
        thing_classes=Vocabulary.named('coco').names,
        category_ids=COCO_PANOPTIC_IDS,
        palette=[class_colour(k).round().astype(int).tolist() for k in range(len(COCO_PANOPTIC_IDS))],
    )


@DATASETS.register_module()
class ADE20KPanopticSegments(PanopticSegmentsDataset):
    """ADE20K panoptic: 100 things and 50 kinds of stuff in the order of the 150 classes of the semantic set."""

    METAINFO: ClassVar[dict[str, Any]] = dict(
        classes=Vocabulary.named('ade20k').names,
        thing_classes=things_of('ade20k'),
        category_ids=tuple(range(150)),
        palette=ADE20KDataset.METAINFO['palette'],
    )


@DATASETS.register_module()
class CityscapesPanopticSegments(PanopticSegmentsDataset):
    """Cityscapes panoptic: 8 things and 11 kinds of stuff in the order of the train ids.

    The file names pictures without their city (``NAME_gtFine_leftImg8bit.png``) or as they are called on disk; both
    are found.
    """

    METAINFO: ClassVar[dict[str, Any]] = dict(
        classes=Vocabulary.named('cityscapes').names,
        thing_classes=things_of('cityscapes'),
        category_ids=SCORED,
        palette=CityscapesDataset.METAINFO['palette'],
    )

    def _image_path(self, file_name: str) -> str:
        name = Path(file_name.replace('_gtFine_leftImg8bit', '_leftImg8bit')).name
        return str(Path(self.data_prefix['img_path']) / name.split('_')[0] / name)


@DATASETS.register_module()
class MiniworldPanopticSegments(PanopticSegmentsDataset):
    """Miniworld's ``coco`` layout; ``denseclip miniworld DIR --layout coco`` writes it."""

    METAINFO: ClassVar[dict[str, Any]] = miniworld_metainfo()
