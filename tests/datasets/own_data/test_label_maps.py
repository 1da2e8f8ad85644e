"""Label maps in every layout: each pixel is trained as the class that the data set says."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS
from own_label_maps import Layout, write
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import NewDataset, new_dataset
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import LabelMapData, recognise


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


def test_folders_and_suffixes_that_say_everything_need_no_made_files(tmp_path: Path) -> None:
    made = check(tmp_path, Layout('split last', ending='_mask', ids=(0, 1, 2), void=255))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['own', 'own.py']
    part = Config.fromfile(made.config).train_dataloader.dataset
    assert part.type == 'BaseSegDataset' and part.seg_map_suffix == '_mask.png'


def test_black_and_white_masks_are_never_taken_for_one_class(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(ids=(0, 255), void=None))
    with pytest.raises(UserError, match='and 255, which is ignored; name it with --ids'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py')
    for words in ('sky', 'sky; road'):
        made = new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes=words, force=True)
        assert not made.ok and '--ids 0 255' in made.reports['train'].render()


def test_ids_without_a_name_are_named_with_the_cure(tmp_path: Path) -> None:
    write(tmp_path / 'own', Layout(void=3))
    with pytest.raises(UserError, match=r'names 3 classes, but the label maps hold the ids 0, 1, 2, 3 .*--ignore 3'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree')
    with pytest.raises(UserError, match='names 3 classes, --ids 2 of them'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road; tree', ids=(0, 1))
    with pytest.raises(ConversionError, match='id 3 stands in --ids and in --ignore'):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ids=(0, 3), ignore=['3'])
    with pytest.raises(ConversionError, match="no class is called 'grass'"):
        new_dataset(tmp_path / 'own', tmp_path / 'own.py', classes='sky; road', ignore=['grass'])


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
