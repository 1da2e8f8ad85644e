"""Sets of the MESS benchmark (NeurIPS 2023, toolkit MIT): how each lies on disk when it is unpacked, and its ids.

What the toolkit of github.com/blumenstiel/MESS at cc701b5 does with the files is done here to the pixel, unless said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from denseclip.datasets.converters.relabel import apply_table, id_table
from denseclip.datasets.files import UnreadableFileError, open_picture, read_label_map, read_text

IGNORED = 255


@dataclass(frozen=True)
class Item:
    """One picture of a set.

    Attributes:
        image: The picture.
        label: Its label map, or the first of several files that make it.
        name: What both are called in the target folder, without ending.
    """

    image: Path
    label: Path
    name: str


@dataclass(frozen=True)
class MessSet:
    """How a set lies on disk.

    Attributes:
        find: All items below the unpacked folder.
        read: Ids (H, W) of an item's label; 255 is ignored.
        suffix: Ending of the pictures that are written; others are encoded anew.
        tiles: Whether pictures are cut into tiles of 1024 without overlap, padded with black and ignored labels.
        where: What the unpacked folder is called.
    """

    find: Callable[[Path], Iterator[Item]]
    read: Callable[[Path], np.ndarray]
    where: str
    suffix: str = '.png'
    tiles: bool = False


# --- items ----------------------------------------------------------------------------------------------------------


def _beside(
    source: Path, images: str, labels: str, *, image_end: str, label_end: str, pattern: str = '*'
) -> Iterator[Item]:
    """Pictures of a folder, and label maps of another under the same names."""
    for image in sorted((source / images).glob(f'{pattern}{image_end}')):
        name = image.name.removesuffix(image_end)
        yield Item(image, source / labels / (name + label_end), name)


def _atlantis(source: Path) -> Iterator[Item]:
    for image in sorted((source / 'images/test').glob('*/*.jpg')):
        yield Item(image, source / 'masks/test' / image.parent.name / f'{image.stem}.png', image.stem)


def _dram(source: Path) -> Iterator[Item]:
    for image in sorted((source / 'test').rglob('*.jpg')):
        place = image.relative_to(source / 'test').with_suffix('.png')
        yield Item(image, source / 'labels' / place, f'{image.parent.name}_{image.stem}')


def _mhp(source: Path) -> Iterator[Item]:
    for name in read_text(source / 'test_list.txt').split():
        image = source / 'images' / name
        first = min((source / 'annotations').glob(f'{image.stem}_*.png'), default=None)
        yield Item(image, first or source / 'annotations' / f'{image.stem}_*.png', image.stem)


def _uavid(source: Path) -> Iterator[Item]:
    for image in sorted((source / 'uavid_val').glob('*/Images/*.png')):
        scene = image.parents[1]
        yield Item(image, scene / 'Labels' / image.name, f'{scene.name}_{image.stem}')


def _kvasir(source: Path) -> Iterator[Item]:
    for name in read_text(source / 'test.txt').split():
        yield Item(source / f'images/{name}.jpg', source / f'masks/{name}.png', name)


def _chase(source: Path) -> Iterator[Item]:
    for image in sorted(source.glob('*.jpg'))[8:]:  # the first eight are for training
        yield Item(image, source / f'{image.stem}_1stHO.png', image.stem)


def _cryonuseg(source: Path) -> Iterator[Item]:
    folder = 'Annotator 1 (biologist second round of manual marks up)'
    for image in sorted((source / 'tissue images').glob('*.tif')):
        yield Item(image, source / folder / folder / 'mask binary' / f'{image.stem}.png', image.stem)


def _cub(source: Path) -> Iterator[Item]:
    files, parts = (
        dict(line.split(' ', 1) for line in read_text(source / name).splitlines())
        for name in ('images.txt', 'train_test_split.txt')
    )
    for number, file in files.items():
        if parts.get(number) == '0':
            label = source / 'segmentations' / Path(file).with_suffix('.png')
            yield Item(source / 'images' / file, label, Path(file).stem)


_CWFID = (1, 3, 4, 9, 10, 13, 15, 21, 22, 26, 28, 29, 30, 32, 35, 39, 44, 47, 48, 54, 60)


def _cwfid(source: Path) -> Iterator[Item]:
    for number in _CWFID:
        name = f'{number:03}'
        yield Item(source / f'images/{name}_image.png', source / f'annotations/{name}_annotation.png', name)


def _paxray(source: Path) -> Iterator[Item]:
    try:
        listed = [
            (str(entry['image']), str(entry['target']))
            for entry in json.loads(read_text(source / 'paxray.json'))['test']
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableFileError(f'{source / "paxray.json"}: is no list of pictures ({error})') from error
    for image, target in listed:
        yield Item(source / image, source / target, Path(image).stem)


# --- ids ------------------------------------------------------------------------------------------------------------


def _mapped(path: Path, table: np.ndarray) -> np.ndarray:
    return apply_table(read_label_map(path), table, path)


def _first_channel(path: Path) -> np.ndarray:
    with open_picture(path) as image:
        pixels = np.asarray(image)
    return (pixels if pixels.ndim == 2 else pixels[..., 0]).astype(np.uint8)


def _binary(path: Path) -> np.ndarray:
    """1 where a mask is white, whether it is written with 1 or with 255."""
    pixels = _first_channel(path)
    return (pixels > (127 if pixels.max(initial=0) > 1 else 0)).astype(np.uint8)


def _coloured(path: Path, colours: Mapping[int, tuple[int, int, int]]) -> np.ndarray:
    """Ids of colours.

    Raises:
        UnreadableFileError: If there are other colours.
    """
    with open_picture(path) as image:
        pixels = np.asarray(image.convert('RGB')).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    keys = np.array([r << 16 | g << 8 | b for r, g, b in colours.values()])
    order = np.argsort(keys)
    place = np.searchsorted(keys[order], pixels).clip(max=len(keys) - 1)
    wrong = keys[order][place] != pixels
    if wrong.any():
        value = int(pixels[wrong][0])
        raise UnreadableFileError(f'{path}: has the colour {(value >> 16, value >> 8 & 255, value & 255)}, of no class')
    return np.array(list(colours), np.uint8)[order][place]


def _dark_zurich(path: Path) -> np.ndarray:
    invalid = _first_channel(path.with_name(path.name.replace('labelIds', 'invGray')))
    labels = read_label_map(path)
    if labels.shape != invalid.shape:
        raise UnreadableFileError(f'{path}: size {labels.shape} differs from that of its invGray, {invalid.shape}')
    return apply_table(np.where(invalid == IGNORED, IGNORED, labels), _NIGHT, path)


def _mhp_labels(first: Path) -> np.ndarray:
    """The parts of all people of a picture; where two overlap the higher id, as the toolkit has it."""
    stem = first.stem.split('_')[0]
    files = sorted(first.parent.glob(f'{stem}_*.png'))
    if not files:
        raise UnreadableFileError(f'{first}: no such file')
    masks = [_first_channel(file) for file in files]
    if len({mask.shape for mask in masks}) > 1:
        raise UnreadableFileError(f'{first}: the masks of this picture differ in size')
    return np.stack(masks).max(axis=0)


def _cub_labels(path: Path) -> np.ndarray:
    """The bird's class, which is the number of its folder, where most of five people saw it."""
    with open_picture(path) as image:
        seen = np.asarray(image.convert('L')) > 128
    number = path.parent.name.split('.')[0]
    if not number.isdecimal() or not 1 <= int(number) <= 200:
        raise UnreadableFileError(f'{path}: lies in no folder such as 001.Black_footed_Albatross')
    return seen.astype(np.uint8) * np.uint8(int(number))


def _paxray_labels(path: Path, row: int) -> np.ndarray:
    """One of the 166 overlapping masks of a picture."""
    try:
        masks = np.load(path, mmap_mode='r', allow_pickle=False)
        return (np.asarray(masks[row]) > 0).astype(np.uint8)
    except (OSError, ValueError, IndexError) as error:
        raise UnreadableFileError(f'{path}: holds no masks ({error})') from error


_NIGHT = id_table(
    {old: new for new, old in enumerate((0, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33))}
    | {IGNORED: IGNORED}
)
_PAINTED = id_table(  # VOC's ids; what DRAM has no paintings of is background
    dict.fromkeys(range(21), 11)
    | {3: 0, 4: 1, 5: 2, 8: 3, 9: 4, 10: 5, 12: 6, 13: 7, 15: 8, 16: 9, 17: 10}
    | {IGNORED: IGNORED}
)
_WATER = id_table({0: IGNORED, **{old: old - 1 for old in range(1, 57)}})
_FROM_ABOVE = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (128, 64, 128),
    3: (0, 128, 0),
    4: (128, 128, 0),
    5: (64, 0, 128),
    6: (192, 0, 192),
    7: (64, 64, 0),
}
_FIELD = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)}
_BODY = {'lungs': 0, 'mediastinum': 10, 'bones': 24, 'diaphragm': 163}


def _ids(count: int) -> Callable[[Path], np.ndarray]:
    return partial(_mapped, table=id_table({k: k for k in (*range(count), IGNORED)}))


MESS_FILES: Mapping[str, MessSet] = {
    'atlantis': MessSet(_atlantis, partial(_mapped, table=_WATER), 'atlantis, with images/test and masks/test', '.jpg'),
    'bdd100k': MessSet(
        partial(
            _beside, images='images/10k/val', labels='labels/sem_seg/masks/val', image_end='.jpg', label_end='.png'
        ),
        _ids(19),
        'bdd100k, with images/10k/val and labels/sem_seg/masks/val',
        '.jpg',
    ),
    'chase_db1': MessSet(_chase, _binary, 'CHASEDB1, with NAME.jpg and NAME_1stHO.png', '.jpg'),
    'corrosion_cs': MessSet(
        partial(
            _beside,
            images='original/Test/images',
            labels='original/Test/masks',
            image_end='.jpeg',
            label_end='.png',
        ),
        _ids(4),
        'Corrosion Condition State Classification, with original/Test',
        '.jpg',
    ),
    'cryonuseg': MessSet(_cryonuseg, _binary, "CryoNuSeg (Kaggle's archive), with 'tissue images'"),
    'cub_200': MessSet(_cub, _cub_labels, 'CUB_200_2011, with images and segmentations', '.jpg'),
    'cwfid': MessSet(_cwfid, partial(_coloured, colours=_FIELD), 'cwfid, with images and annotations'),
    'dark_zurich': MessSet(
        partial(
            _beside,
            images='rgb_anon/val/night/GOPR0356',
            labels='gt/val/night/GOPR0356',
            image_end='_rgb_anon.png',
            label_end='_gt_labelIds.png',
        ),
        _dark_zurich,
        'Dark_Zurich, with rgb_anon/val and gt/val',
    ),
    'deepcrack': MessSet(
        partial(_beside, images='test_img', labels='test_lab', image_end='.jpg', label_end='.png'),
        _binary,
        'DeepCrack, with test_img and test_lab',
        '.jpg',
    ),
    'dram': MessSet(_dram, partial(_mapped, table=_PAINTED), 'DRAM_processed, with test and labels', '.jpg'),
    'floodnet': MessSet(
        partial(
            _beside,
            images='test/test-org-img',
            labels='test/test-label-img',
            image_end='.jpg',
            label_end='_lab.png',
        ),
        _ids(10),
        'FloodNet-Supervised_v1.0, with test/test-org-img and test/test-label-img',
        '.png',
        tiles=True,
    ),
    'foodseg103': MessSet(
        partial(
            _beside, images='Images/img_dir/test', labels='Images/ann_dir/test', image_end='.jpg', label_end='.png'
        ),
        _ids(104),
        'FoodSeg103, with Images/img_dir/test and Images/ann_dir/test',
        '.jpg',
    ),
    'kvasir_instrument': MessSet(_kvasir, _binary, 'kvasir-instrument, with test.txt, images and masks', '.jpg'),
    'mhp_v1': MessSet(_mhp, _mhp_labels, 'LV-MHP-v1, with test_list.txt, images and annotations', '.jpg'),
    'pst900': MessSet(
        partial(_beside, images='test/thermal', labels='test/labels', image_end='.png', label_end='.png'),
        _ids(5),
        'PST900_RGBT_Dataset, with test/thermal and test/labels',
    ),
    'uavid': MessSet(
        _uavid, partial(_coloured, colours=_FROM_ABOVE), 'uavid_v1.5, with uavid_val/*/Images and Labels', tiles=True
    ),
    'zerowaste': MessSet(
        partial(
            _beside,
            images='splits_final_deblurred/test/data',
            labels='splits_final_deblurred/test/sem_seg',
            image_end='.PNG',
            label_end='.PNG',
        ),
        _ids(5),
        'zerowaste-f, with splits_final_deblurred/test',
    ),
    **{
        f'paxray_{part}': MessSet(
            _paxray, partial(_paxray_labels, row=row), 'paxray_dataset, with paxray.json, images and labels'
        )
        for part, row in _BODY.items()
    },
}
"""By name, without ``mess_``."""
