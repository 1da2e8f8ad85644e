"""Label maps in every layout: each pixel is trained as the class that the data set says."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DATASETS
from own_label_maps import PLACES, Layout, write
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import NewDataset, new_dataset
from denseclip.datasets.audit import audit_split
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import LabelMapData, recognise
from denseclip.datasets.perfect import score_perfect_model

CONFIGS = Path(__file__).parents[3] / 'configs'


def loaded(config: Path) -> dict[Path, np.ndarray]:
    """What training and validation see of each picture's labels."""
    found = {}
    content = Config.fromfile(config)
    for split in ('train', 'val'):
        part = content[f'{split}_dataloader'].dataset
        steps = [dict(type='LoadAnnotations'), dict(type='CheckLabelRange', num_classes=len(part.metainfo.classes))]
        dataset = DATASETS.build({**part, 'pipeline': steps})
        for index in range(len(dataset)):
            info = dataset[index]
            assert Path(info['img_path']) not in found, 'a picture is in two splits'
            found[Path(info['img_path'])] = info['gt_seg_map']
    return found


def check(root: Path, layout: Layout, seed: int = 0) -> NewDataset:
    """Write a layout, make a config for it, and compare all labels."""
    truth = write(root / 'own', layout, seed)
    before = {path: path.read_bytes() for path in (root / 'own').rglob('*') if path.is_file()}
    made = new_dataset(root / 'own', root / 'own.py', **layout.options())
    assert made.ok, {split: report.render() for split, report in made.reports.items()}
    assert made.perfect['val'].scores == {'mIoU': 1.0} and not made.perfect['train'].problems
    assert made.vocabulary.names == layout.names
    found = loaded(made.config)
    assert found.keys() == truth.keys()
    for path, classes in truth.items():
        np.testing.assert_array_equal(found[path], classes, err_msg=str(path))
    assert before == {path: path.read_bytes() for path in (root / 'own').rglob('*') if path.is_file()}
    return made


@pytest.mark.parametrize(
    'layout',
    [
        Layout('camvid', words=0),
        Layout('split last', words=1, ending='_L', suffixes=('.JPG', '.png')),
        Layout('split first', words=2, ending='-mask', label_suffix='.PNG'),
        Layout('split in the word', kind='palette', suffixes=('.jpeg',)),
        Layout('cities', ids=(7, 8, 11), void=0),
        Layout('shared label maps', kind='deep', void=65535, ids=(0, 300, 9000)),
        Layout('one folder a split', kind='grey in rgb'),
        Layout('one folder', ending='_gt', void=0, ids=(1, 2, 3)),
        Layout('flat', void=3, count=6),
        Layout('flat', ids=(0, 255), void=None, count=4),
        Layout('wrapped', ids=(2, 0, 1), kind='palette', count=5, turned=True),
        Layout('voc lists', ids=(0, 128, 255), void=None),
        Layout('voc default', kind='rgb', ids=(0, 1, 2, 3, 4)),
        Layout('camvid', kind='rgba', colour_file='label_colors.txt', words=1),
        Layout('split in the word', kind='colour palette', colour_file='class_dict.csv', ending='_L'),
    ],
    ids=lambda layout: f'{layout.place}, {layout.kind}',
)
def test_every_pixel_has_its_class(tmp_path: Path, layout: Layout) -> None:
    check(tmp_path, layout)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Any layout that ``new-dataset`` accepts."""
    kind = draw(st.sampled_from(('grey', 'palette', 'deep', 'grey in rgb', 'rgb', 'rgba', 'colour palette')))
    coloured = kind in ('rgb', 'rgba', 'colour palette')
    count = draw(st.integers(2, 5))
    any_id = st.integers(0, 65535 if kind == 'deep' else 255)
    ids = (
        tuple(range(count)) if coloured else tuple(draw(st.lists(any_id, min_size=count, max_size=count, unique=True)))
    )
    voids = [255, None] if coloured else [None, *{0, 255, max(ids) + 1, 65535} - {*ids}]
    allowed = [v for v in voids if v is None or v <= (65535 if kind == 'deep' else 255)]
    suffixes = st.sampled_from(('.jpg', '.png', '.JPG', '.jpeg', '.webp'))
    return Layout(
        place=draw(st.sampled_from(sorted(PLACES))),
        words=draw(st.integers(0, 3)),
        ending=draw(st.sampled_from(('', '_mask', '_L', '_gt', '-Label', '_labelIds', '_own'))),
        suffixes=tuple(draw(st.lists(suffixes, min_size=1, max_size=2))),
        label_suffix=draw(st.sampled_from(('.png', '.PNG', '.tif') if kind != 'colour palette' else ('.png',))),
        kind=kind,
        ids=ids,
        void=draw(st.sampled_from(allowed)),
        colour_file=draw(st.sampled_from(('labelmap.txt', 'label_colors.txt', 'class_dict.csv'))),
        turned=draw(st.booleans()),
        count=draw(st.integers(2, 3)),
    )


LOADS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
STEPS = [
    LOADS[0],
    dict(type='Resize', scale=(16, 12), keep_ratio=True),
    LOADS[1],
    dict(type='CheckLabelRange', num_classes=5),
    dict(type='PackSegInputs'),
]


def config_of(data: LabelMapData, names: tuple[str, ...]) -> Config:
    """The part of a config that reads and scores, as ``new_dataset`` writes it."""
    steps = [{**s, 'num_classes': len(names)} if s['type'] == 'CheckLabelRange' else s for s in STEPS]
    loaders = {
        f'{split}_dataloader': dict(
            dataset=dict(**data.entry(part, len(names)), metainfo=dict(classes=names), pipeline=steps)
        )
        for split, part in data.splits.items()
    }
    return Config(dict(**loaders, val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU'])))


@pytest.mark.slow
@given(layouts(), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_perfect_segmentor_gets_full_marks_in_any_layout(layout: Layout, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = write(Path(folder, 'own'), layout, seed)
        options = {key: value for key, value in layout.options().items() if key != 'classes'}
        data = recognise(Path(folder, 'own'), **options)
        assert isinstance(data, LabelMapData) and data.names in ((), layout.names)
        config = config_of(data, layout.names)
        for split in ('train', 'val'):
            ((_, report),) = audit_split(config, split)
            assert report.ok, report.render()
        said = data.truth(len(layout.names))
        for path, classes in truth.items():
            np.testing.assert_array_equal(said(str(path)), np.where(classes == 255, -1, classes.astype(int)))
        train, val = (score_perfect_model(config, split, truth=said) for split in ('train', 'val'))
        assert val and val.ok and val.scores == {'mIoU': 1.0}
        assert train and train.ok and train.scores == {'mIoU': 1.0}
        assert data.splits.keys() == {'train', 'val'}
        assert sorted(p.picture for part in data.splits.values() for p in part.pairs) == sorted(truth)


def test_folders_and_suffixes_that_say_everything_need_no_made_files(tmp_path: Path) -> None:
    made = check(tmp_path, Layout('split last', ending='_mask', ids=(0, 1, 2), void=255))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['own', 'own.py']
    part = Config.fromfile(made.config).train_dataloader.dataset
    assert part.type == 'BaseSegDataset' and part.seg_map_suffix == '_mask.png'


def test_black_and_white_masks_are_never_taken_for_one_class(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(ids=(0, 255), void=None))
    with pytest.raises(UserError, match='and 255, which is ignored; name it with --ids'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py')
    with pytest.raises(UserError, match='one class leaves nothing to tell it from.*--ids 0 255'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='road')
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road')
    assert not made.ok and '--ids 0 255' in made.reports['train'].render()


def test_ids_without_a_name_are_named_with_the_cure(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(void=3))
    with pytest.raises(UserError, match=r'names 3 classes, but the label maps hold the ids 0, 1, 2, 3 .*--ignore 3'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    with pytest.raises(UserError, match='or --ignore 0, or name it'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    with pytest.raises(ConversionError, match='--ids 0 0: each class needs an id of its own'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ids=(0, 0))
    with pytest.raises(UserError, match='names 3 classes, --ids 2 of them'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree', ids=(0, 1))
    with pytest.raises(ConversionError, match='id 3 stands in --ids and in --ignore'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ids=(0, 3), ignore=['3'])
    with pytest.raises(ConversionError, match="no class is called 'grass'"):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ignore=['grass'])


def test_ids_that_begin_with_one(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(ids=(1, 2, 3), void=None))
    with pytest.raises(UserError, match='if the names stand for these ids: --ids 1 2 3'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree; hut')
    assert any('do the ids begin with 1?' in hint for hint in made.reports['train'].suggestions())
    assert new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree', ids=(1, 2, 3), force=True).ok


def test_a_word_for_no_class_gets_a_hint(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(void=3))
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree; void')
    assert any("'void' is read as a class; if it means none: --ignore 3" in note for note in made.notes)


def test_nothing_is_made_before_the_names_fit(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout('flat', kind='grey in rgb'))
    with pytest.raises(UserError, match='names 2 classes'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road')
    assert [path.name for path in tmp_path.iterdir()] == ['own']
    assert new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree').ok


def test_a_rare_id_is_found_among_many_files(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(count=450))
    last = tmp_path / 'own/masks/train/t 449.x.png'
    Image.fromarray(np.full((6, 8), 9, np.uint8)).save(last)
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    assert not made.ok and f'{last}: label ids out of range: 9' in made.reports['train'].render()


def test_all_findings_are_said_in_one_run(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout())
    images, masks = tmp_path / 'own/images/train', tmp_path / 'own/masks/train'
    (images / 't 00.x.png').write_bytes(b'no picture')
    (masks / 't 01.x.png').unlink()
    Image.fromarray(np.full((6, 8), 7, np.uint8)).save(masks / 't 02.x.png')
    Image.fromarray(np.full((6, 8), 1, np.uint8)).save(masks / 'stray.png')
    (tmp_path / 'own/masks/val/v 00.x.png').write_bytes(b'')
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='; '.join('abcdefgh'))
    text = made.reports['train'].render()
    for said in ('t 00.x.png: cannot be read', 't 01.x.png: has no label map', 'stray.png: has no picture'):
        assert said in text
    assert 'v 00.x.png: cannot be read' in made.reports['val'].render() and not made.ok


def test_an_unknown_id_hides_no_other_finding(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(count=6))
    images, masks = tmp_path / 'own/images/train', tmp_path / 'own/masks/train'
    Image.fromarray(np.full((6, 8), 77, np.uint8)).save(masks / 't 00.x.png')
    (images / 't 01.x.png').write_bytes(b'no picture')
    (masks / 't 02.x.png').unlink()
    Image.fromarray(np.full((3, 8), 1, np.uint8)).save(masks / 't 03.x.png')
    Image.fromarray(np.full((6, 8), 1, np.uint8)).save(masks / 'stray.png')
    (tmp_path / 'own/masks/val/v 00.x.png').write_bytes(b'')
    with pytest.raises(UserError) as caught:
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    for said in (
        'hold the ids 0, 1, 2, 77 (255 is ignored)',
        '--ignore 77',
        't 00.x.png: label ids out of range: 77',
        't 01.x.png: cannot be read',
        't 02.x.png: has no label map',
        't 03.x.png: size (3, 8) differs from its picture (6, 8)',
        'stray.png: has no picture',
        'v 00.x.png: cannot be read',
    ):
        assert said in str(caught.value), str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ['own']


@pytest.mark.parametrize('kind', ['grey', 'rgb'])
def test_findings_about_listed_pairs_are_said_by_every_audit(tmp_path: Path, kind: str) -> None:
    write(tmp_path / 'own', Layout('flat', kind=kind, count=6, suffixes=('.png', '.jpg')))
    masks = tmp_path / 'own/masks'
    Image.fromarray(np.full((6, 8), 1, np.uint8)).save(masks / 'stray.png')
    (masks / 't 01.x.png').write_bytes(b'')
    Image.fromarray(np.full((6, 8, 3), (9, 8, 7), np.uint8)).save(masks / 't 02.x.png')
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    text = '\n'.join(report.render() for report in made.reports.values())
    assert 'stray.png: has no picture' in text and 't 01.x.png: cannot be read' in text
    assert ('holds colours that no class has: (9, 8, 7)' if kind == 'rgb' else '3 channels') in text


def test_colours_without_a_list_ask_for_one(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(kind='rgb'))
    (tmp_path / 'own/labelmap.txt').unlink()
    with pytest.raises(ConversionError, match=r'3 channels \(RGB\).*Put a labelmap\.txt'):
        recognise(tmp_path / 'own')


def test_jpeg_label_maps_are_read_only_by_given_ids(tmp_path: Path) -> None:
    truth = write(tmp_path / 'own', Layout(ids=(0, 255), void=None))
    for path in (tmp_path / 'own/masks').rglob('*.png'):
        with Image.open(path) as image:
            image.resize((80, 60), Image.Resampling.NEAREST).save(path.with_suffix('.jpg'), quality=90)
        path.unlink()
    for path in truth:
        with Image.open(path) as image:
            image.resize((80, 60)).save(path)
    with pytest.raises(ConversionError, match='JPEG changes ids'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road')
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ids=(0, 255))
    assert made.ok
    for path, found in loaded(made.config).items():
        np.testing.assert_array_equal(found, truth[path].repeat(10, axis=0).repeat(10, axis=1))


def test_two_kinds_of_label_maps_beside_each_other(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout('cities', ids=(0, 1, 2)))
    for path in (tmp_path / 'own/gtFine').rglob('*_labelIds.png'):
        Image.new('RGB', (8, 6)).save(path.with_name(path.name.replace('labelIds', 'color')))
    data = recognise(tmp_path / 'own')
    assert isinstance(data, LabelMapData) and data.label_suffix == '_gtFine_labelIds.png'


def test_boxes_and_label_maps_in_one_folder_are_chosen_by_kind(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout('voc lists', suffixes=('.jpg',)))
    (tmp_path / 'own/Annotations').mkdir()
    (tmp_path / 'own/Annotations/t 00.x.xml').write_text('<annotation></annotation>')
    assert isinstance(recognise(tmp_path / 'own', kind='label maps'), LabelMapData)
    with pytest.raises(ConversionError):
        recognise(tmp_path / 'own')  # boxes, of which there are none
    shutil.rmtree(tmp_path / 'own/SegmentationClass')
    with pytest.raises(ConversionError, match='no layout is recognised'):
        recognise(tmp_path / 'own', kind='label maps')


def test_a_picture_in_two_lists_is_refused(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout('voc lists'))
    with (tmp_path / 'own/ImageSets/Segmentation/val.txt').open('a') as file:
        file.write('t 00.x\nnone\n')
    with pytest.raises(ConversionError, match=r't 00\.x: listed in train and again in val'):
        recognise(tmp_path / 'own')


def test_names_of_what_is_no_class(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout('voc lists', kind='rgb', ids=(0, 1, 2, 3)))
    made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', ignore=['SKY', 'tree'])
    assert made.ok and made.vocabulary.names == ('road', 'red car')


@pytest.mark.parametrize(
    ('base', 'said'),
    [
        ('maskclip/maskclip_vit-b16_zs_voc20-448x448.py', 'has no train_pipeline'),
        ('miniworld/fcclip_vit-xs8_miniworld-96x96.py', 'trains on neither boxes nor label maps'),
    ],
)
def test_bases_that_do_not_train_on_label_maps(tmp_path: Path, base: str, said: str) -> None:
    write(tmp_path / 'own', Layout())
    with pytest.raises(UserError, match=said):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree', base=CONFIGS / base)


def test_a_base_of_another_numbering_leaves_ids_alone(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout())
    for base in (
        'denseclip/denseclip_fpn_clip-r50_80k_ade20k-512x512.py',
        'ovseg/ovseg_r101c_vit-b16_120k_voc20-512x512.py',
    ):
        out = tmp_path / 'own.py'
        made = new_dataset(tmp_path / 'own', out, classes='sky; road; tree', base=CONFIGS / base, force=True)
        assert made.ok and made.perfect['val'].scores['mIoU'] == 1.0
