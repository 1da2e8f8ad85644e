"""The eight validation sets that papers on open-vocabulary segmentation report, and sets of other domains."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from denseclip.clip.vocabulary import Vocabulary
from denseclip.recipes import ignored_label


@dataclass(frozen=True)
class EvaluationSet:
    """One set.

    Attributes:
        name: Its name in options, tables and, without underscores, in config names.
        title: Its name in papers.
        dataset_type: Data set class.
        data_root: Where the configs look for it.
        img_path: Folder of pictures below ``data_root``.
        seg_map_path: Folder of label maps below ``data_root``.
        ann_file: List of names below ``data_root``; empty where all files count.
        num_classes: Number of classes, a background counted.
        num_pictures: Pictures of the real set; 0 where that is the user's choice.
        has_background: Whether label 0 is everything else.
        options: Further arguments of the data set class.
        own_classes: Whether the class list of the same name tells the data set what its classes are.
    """

    name: str
    title: str
    dataset_type: str
    data_root: str
    img_path: str
    seg_map_path: str
    num_classes: int
    num_pictures: int
    ann_file: str = ''
    has_background: bool = False
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    own_classes: bool = False

    @property
    def config_name(self) -> str:
        """Its name in file names of configs."""
        return self.name.replace('_', '')

    @property
    def ignore_index(self) -> int:
        """Label of ignored pixels."""
        return ignored_label(self.num_classes)

    def dataset(self, data_root: str | None = None) -> dict[str, Any]:
        """Config of the data set, without a pipeline.

        Args:
            data_root: Another folder than the usual one.
        """
        files = dict(data_prefix=dict(img_path=self.img_path, seg_map_path=self.seg_map_path))
        listing: dict[str, Any] = dict(ann_file=self.ann_file) if self.ann_file else {}
        if self.own_classes:
            listing['metainfo'] = dict(classes=list(Vocabulary.named(self.name).names))
        return dict(type=self.dataset_type, data_root=data_root or self.data_root, **files, **listing, **self.options)


_VOC = dict(
    data_root='data/VOCdevkit/VOC2012',
    img_path='JPEGImages',
    seg_map_path='SegmentationClass',
    ann_file='ImageSets/Segmentation/val.txt',
    num_pictures=1449,
)
_CONTEXT = dict(
    data_root='data/VOCdevkit/VOC2010',
    img_path='JPEGImages',
    seg_map_path='SegmentationClassContext',
    ann_file='ImageSets/SegmentationContext/val.txt',
    num_pictures=5105,
)
_COCO = dict(img_path='images/val2017', seg_map_path='annotations/val2017', num_pictures=5000)


def _set(name: str, title: str, dataset_type: str, num_classes: int, files: Mapping[str, Any], **more: Any) -> Any:
    return name, EvaluationSet(
        name=name, title=title, dataset_type=dataset_type, num_classes=num_classes, **files, **more
    )


SETS: Mapping[str, EvaluationSet] = MappingProxyType(
    dict(
        [
            _set('voc21', 'VOC21', 'PascalVOCDataset', 21, _VOC, has_background=True),
            _set('context60', 'Context60', 'PascalContextDataset', 60, _CONTEXT, has_background=True),
            _set(
                'coco_object',
                'COCO-Object',
                'COCOObjectDataset',
                81,
                _COCO,
                data_root='data/coco_object',
                has_background=True,
            ),
            _set('voc20', 'VOC20', 'PascalVOC20Dataset', 20, _VOC),
            _set(
                'cityscapes',
                'Cityscapes',
                'CityscapesDataset',
                19,
                dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val', num_pictures=500),
                data_root='data/cityscapes',
            ),
            _set('context59', 'Context59', 'PascalContextDataset59', 59, _CONTEXT),
            _set(
                'ade20k',
                'ADE20K',
                'ADE20KDataset',
                150,
                dict(img_path='images/validation', seg_map_path='annotations/validation', num_pictures=2000),
                data_root='data/ade/ADEChallengeData2016',
            ),
            _set('coco_stuff', 'COCO-Stuff', 'COCOStuffDataset', 171, _COCO, data_root='data/coco_stuff164k'),
        ]
    )
)
"""The sets by name, in the order of published tables: three with background, five without."""


LARGE_SETS: Mapping[str, EvaluationSet] = MappingProxyType(
    dict(
        [
            _set(
                'ade20k_full',
                'A-847',
                'ADE20KFullDataset',
                847,
                dict(img_path='images/validation', seg_map_path='annotations/validation', num_pictures=2000),
                data_root='data/ade20k_full',
            ),
            _set(
                'context459',
                'PC-459',
                'PascalContextDataset459',
                459,
                {
                    **_CONTEXT,
                    'data_root': 'data/VOCdevkit/VOC2010_459',
                    'seg_map_path': 'SegmentationClassContext459',
                },
            ),
        ]
    )
)
"""Sets of hundreds of classes with 16-bit label maps, which models that were trained on masks report."""


_TILES = dict(img_path='img_dir/val', seg_map_path='ann_dir/val')
DOMAIN_SETS: Mapping[str, EvaluationSet] = MappingProxyType(
    dict(
        [
            _set(
                'loveda',
                'LoveDA',
                'LoveDADataset',
                7,
                _TILES,
                data_root='data/loveDA',
                num_pictures=1669,
                has_background=True,
            ),
            _set(
                'isaid',
                'iSAID',
                'iSAIDDataset',
                16,
                dict(img_path='images_detectron2/val', seg_map_path='annotations_detectron2/val'),
                data_root='data/isaid',
                num_pictures=0,  # tiles, as many as the preparation makes
                has_background=True,
                options=MappingProxyType(dict(seg_map_suffix='.png')),
            ),
        ]
    )
)
"""Sets of other domains, such as pictures from above. A set here, its class list of the same name and its config in
``configs/_base_/datasets`` are all that protocol ``domains`` and the grid need. Their label files count up from 0 or 1
(``tests/datasets/test_domain_sets.py`` draws such ones); others need a converter first."""


def _mess(name: str, title: str, num_classes: int, suffix: str = '.png', background: bool = False) -> Any:
    return _set(
        f'mess_{name}',
        title,
        'LabelMapDataset',
        num_classes,
        dict(img_path='images', seg_map_path='annotations', num_pictures=0),
        data_root=f'data/mess/{name}',
        has_background=background,
        options=MappingProxyType(dict(img_suffix=suffix, seg_map_suffix='.png')),
        own_classes=True,
    )


MESS_SETS: Mapping[str, EvaluationSet] = MappingProxyType(
    dict(
        [
            _mess('atlantis', 'ATLANTIS', 56, '.jpg'),
            _mess('bdd100k', 'BDD100K', 19, '.jpg'),
            _mess('chase_db1', 'CHASE DB1', 2, '.jpg', True),
            _mess('corrosion_cs', 'Corrosion CS', 4, '.jpg', True),
            _mess('cryonuseg', 'CryoNuSeg', 2, background=True),
            _mess('cub_200', 'CUB-200', 201, '.jpg', True),
            _mess('cwfid', 'CWFID', 3),
            _mess('dark_zurich', 'Dark Zurich', 20, background=True),
            _mess('deepcrack', 'DeepCrack', 2, '.jpg'),
            _mess('dram', 'DRAM', 12, '.jpg'),
            _mess('floodnet', 'FloodNet', 10, background=True),
            _mess('foodseg103', 'FoodSeg103', 104, '.jpg', True),
            _mess('kvasir_instrument', 'Kvasir-Instrument', 2, '.jpg', True),
            _mess('mhp_v1', 'MHP v1', 19, '.jpg', True),
            _mess('paxray_bones', 'PAXRay-4, bones', 2, background=True),
            _mess('paxray_diaphragm', 'PAXRay-4, diaphragm', 2, background=True),
            _mess('paxray_lungs', 'PAXRay-4, lungs', 2, background=True),
            _mess('paxray_mediastinum', 'PAXRay-4, mediastinum', 2, background=True),
            _mess('pst900', 'PST900', 5, background=True),
            _mess('uavid', 'UAVid', 8, background=True),
            _mess('zerowaste', 'ZeroWaste-f', 5, background=True),
        ]
    )
)
"""Sets of the MESS benchmark as ``denseclip convert mess`` writes them; it has any number of pictures of them.
:data:`DOMAIN_SETS` has its iSAID."""


MINIWORLD = EvaluationSet(
    name='miniworld',
    title='miniworld',
    dataset_type='MiniworldDataset',
    data_root='data/miniworld',
    img_path='images/validation',
    seg_map_path='annotations/validation',
    num_classes=32,
    num_pictures=0,
)
"""The drawn world of ``denseclip miniworld``, for machines without data; nothing is published for it."""


def evaluation_set(name: str) -> EvaluationSet:
    """Find a set by its name (case, hyphens and underscores aside).

    Raises:
        KeyError: If there is none; the nearest is suggested.
    """
    plain = name.casefold().replace('-', '').replace('_', '')
    for entry in (*SETS.values(), *LARGE_SETS.values(), *DOMAIN_SETS.values(), *MESS_SETS.values(), MINIWORLD):
        if plain == entry.config_name:
            return entry
    known = [*SETS, *LARGE_SETS, *DOMAIN_SETS, *MESS_SETS, MINIWORLD.name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(known)}'
    raise KeyError(f"no evaluation set is called '{name}'; {hint}")
