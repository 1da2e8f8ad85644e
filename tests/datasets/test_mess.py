"""Sets of the MESS benchmark: tiny folders in each set's own layout, and what becomes of their labels."""

import json

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

import denseclip.datasets  # noqa: F401  (registration)
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.converters import ConversionError, convert_mess
from denseclip.datasets.converters.mess import cut
from denseclip.datasets.converters.mess_sets import MESS_FILES
from denseclip.datasets.open_vocab import MESS_SETS, default_protocol

SIZE = (6, 20)
CRYO = 'Annotator 1 (biologist second round of manual marks up)'
DARK = 'val/night/GOPR0356/GOPR0356_frame_1'
COLOURS = [(0, 0, 0), (128, 0, 0), (128, 64, 128), (0, 128, 0), (128, 128, 0), (64, 0, 128)]
COLOURS += [(192, 0, 192), (64, 64, 0)]
FIELD = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


def save(root, path, pixels):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(root / path)


def picture(root, path, size=SIZE):
    save(root, path, np.full((*size, 3), 90))


def row(*values, size=SIZE):
    """A label map whose columns have these ids in turn."""
    return np.resize(np.array(values, np.uint8), size[1])[None].repeat(size[0], axis=0)


def plain(image, label, ids, expected=None):
    """A picture and a label map of ids."""

    def write(root):
        picture(root, image)
        save(root, label, row(*ids))
        return row(*(ids if expected is None else expected))

    return write


def binary(image, label, white=255, channels=False):
    def write(root):
        picture(root, image)
        mask = row(0, 1) * white
        save(root, label, np.stack([mask] * 3, axis=2) if channels else mask)
        return row(0, 1)

    return write


def coloured(image, label, colours):
    def write(root):
        picture(root, image)
        save(root, label, np.array(colours)[row(*range(len(colours)))])
        return row(*range(len(colours)))

    return write


def chase(root):
    for number in range(9):  # the first eight are for training
        picture(root, f'Image_{number:02}L.jpg')
    (root / 'Image_08L_1stHO.png').parent.mkdir(exist_ok=True)
    Image.fromarray(row(0, 1).astype(bool)).save(root / 'Image_08L_1stHO.png')
    return row(0, 1)


def cub(root):
    (root / 'images').mkdir(parents=True)
    (root / 'images.txt').write_text('1 002.Laysan_Albatross/a.jpg\n2 200.Common_Yellowthroat/b.jpg\n')
    (root / 'train_test_split.txt').write_text('1 1\n2 0\n')
    picture(root, 'images/200.Common_Yellowthroat/b.jpg')
    save(root, 'segmentations/200.Common_Yellowthroat/b.png', row(0, 51, 204, 255))
    return row(0, 0, 200, 200)


def cwfid(root):
    for number in (1, 3, 4, 9, 10, 13, 15, 21, 22, 26, 28, 29, 30, 32, 35, 39, 44, 47, 48, 54, 60):
        coloured(f'images/{number:03}_image.png', f'annotations/{number:03}_annotation.png', FIELD)(root)
    return row(0, 1, 2)


def dark(root):
    picture(root, f'rgb_anon/{DARK}_rgb_anon.png')
    save(root, f'gt/{DARK}_gt_labelIds.png', row(0, 7, 33, 11))
    save(root, f'gt/{DARK}_gt_invGray.png', row(0, 0, 0, 255))
    return row(0, 1, 19, 255)


def kvasir(root):
    root.mkdir(exist_ok=True)
    (root / 'test.txt').write_text('a\n')
    return binary('images/a.jpg', 'masks/a.png', channels=True)(root)


def people(root):
    root.mkdir(exist_ok=True)
    (root / 'test_list.txt').write_text('1.jpg\n')
    for name in ('1', '10'):  # another picture whose name begins alike
        picture(root, f'images/{name}.jpg')
    save(root, 'annotations/1_02_01.png', row(0, 3, 7, 0))
    save(root, 'annotations/1_02_02.png', row(0, 5, 2, 18))
    save(root, 'annotations/10_01_01.png', row(9))
    return row(0, 5, 7, 18)


def xray(place):
    def write(root):
        picture(root, 'images/a.png')
        (root / 'labels').mkdir()
        masks = np.zeros((166, *SIZE), bool)
        masks[place] = row(0, 1)
        np.save(root / 'labels/a.npy', masks)
        entry = {'image': 'images/a.png', 'target': 'labels/a.npy'}
        (root / 'paxray.json').write_text(json.dumps({'train': [], 'test': [entry]}))
        return row(0, 1)

    return write


LAYOUTS = {
    'atlantis': plain('images/test/river/a.jpg', 'masks/test/river/a.png', [0, 1, 56], [255, 0, 55]),
    'bdd100k': plain('images/10k/val/a.jpg', 'labels/sem_seg/masks/val/a.png', [0, 18, 255]),
    'chase_db1': chase,
    'corrosion_cs': plain('original/Test/images/a.jpeg', 'original/Test/masks/a.png', [0, 3]),
    'cryonuseg': binary('tissue images/a.tif', f'{CRYO}/{CRYO}/mask binary/a.png'),
    'cub_200': cub,
    'cwfid': cwfid,
    'dark_zurich': dark,
    'deepcrack': binary('test_img/a.jpg', 'test_lab/a.png'),
    'dram': plain('test/era/monet/a.jpg', 'labels/era/monet/a.png', [0, 3, 17, 1, 255], [11, 0, 10, 11, 255]),
    'floodnet': plain('test/test-org-img/7.jpg', 'test/test-label-img/7_lab.png', [0, 9]),
    'foodseg103': plain('Images/img_dir/test/a.jpg', 'Images/ann_dir/test/a.png', [0, 103]),
    'kvasir_instrument': kvasir,
    'mhp_v1': people,
    'pst900': plain('test/thermal/a.png', 'test/labels/a.png', [0, 4]),
    'uavid': coloured('uavid_val/seq1/Images/0.png', 'uavid_val/seq1/Labels/0.png', COLOURS),
    'zerowaste': plain('splits_final_deblurred/test/data/a.PNG', 'splits_final_deblurred/test/sem_seg/a.PNG', [0, 4]),
    **{f'paxray_{part}': xray(k) for part, k in dict(lungs=0, mediastinum=10, bones=24, diaphragm=163).items()},
}


def test_every_set_has_a_converter_an_entry_and_a_layout():
    assert set(MESS_FILES) == set(LAYOUTS) == {name.removeprefix('mess_') for name in MESS_SETS}


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_converted_set_is_read_with_the_ids_of_its_words(name, tmp_path):
    expected = LAYOUTS[name](tmp_path / 'source')
    entry, target = MESS_SETS[f'mess_{name}'], tmp_path / 'target'
    counts = convert_mess(name, tmp_path / 'source', target, num_workers=1)
    words = Vocabulary.named(entry.name)
    assert len(words) == entry.num_classes and default_protocol('sclip', entry.name).name == 'mess'
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(dict(entry.dataset(str(target)), pipeline=steps))
    assert len(dataset) == sum(counts.values()) and tuple(dataset.metainfo['classes']) == words.names
    labels, image = dataset[0]['gt_seg_map'], dataset[0]['img']
    if MESS_FILES[name].tiles:
        assert labels.shape == image.shape[:2] == (1024, 1024) and (labels[SIZE[0] :] == 255).all()
    assert np.array_equal(labels[: SIZE[0], : SIZE[1]], expected)
    assert abs(int(image[0, 0, 0]) - 90) <= 2


def test_tiles_do_not_overlap_and_cover_all():
    planes = np.arange(1030 * 2050, dtype=np.int64).reshape(1030, 2050)
    tiles = cut(planes, -1)
    assert [tile.shape for tile in tiles] == [(1024, 1024)] * 6
    found = np.concatenate([tile.ravel() for tile in tiles])
    assert np.array_equal(np.sort(found[found >= 0]), planes.ravel())


@pytest.mark.parametrize(
    ('name', 'spoil', 'said'),
    [
        ('nothing', lambda root: None, "no set is called 'nothing'; there are atlantis"),
        ('deepcrack', lambda root: None, 'no pictures; the folder should be DeepCrack, with test_img'),
        ('paxray_bones', lambda root: None, 'paxray.json: cannot be read'),
        ('bdd100k', lambda root: save(root, 'labels/sem_seg/masks/val/a.png', row(40)), r'a.png: ids \[40\]'),
        ('bdd100k', lambda root: picture(root, 'images/10k/val/b.jpg'), r'b.png: no such file'),
        ('foodseg103', lambda root: picture(root, 'Images/img_dir/test/a.jpg', (5, 5)), 'differs from its picture'),
        (
            'uavid',
            lambda root: save(root, 'uavid_val/seq1/Labels/0.png', np.full((*SIZE, 3), 7)),
            r'colour \(7, 7, 7\)',
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(name, spoil, said, tmp_path):
    root = tmp_path / 'source'
    root.mkdir()
    if 'no pictures' not in said and name in LAYOUTS and 'cannot be read' not in said:
        LAYOUTS[name](root)
    spoil(root)
    with pytest.raises(ConversionError, match=said):
        convert_mess(name, root, tmp_path / 'target')
    assert not (tmp_path / 'target').exists()
