"""``denseclip new-dataset`` writes configs that train."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from generated import write_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import BASES, NewDataset, in_order_of, new_dataset
from denseclip.cli.main import main
from denseclip.clip.class_entry import plain_name
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.own_data import LabelMapData
from denseclip.engine.launch import TrainOptions, train

CAMVID = 'sky; building = house; pole; road; pavement; tree; sign; fence; car; person; cyclist; rest'


@pytest.fixture(scope='module')
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset('bccd', tmp_path_factory.mktemp('own') / 'cells', num_train=8, num_val=2, size=(96, 128))


@pytest.fixture(scope='module')
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset('camvid', tmp_path_factory.mktemp('own') / 'streets', num_train=4, num_val=2, size=(48, 64))


def test_boxes(boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'sub' / 'cells.py'
    assert main(['new-dataset', str(boxes), '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert '== train ==' in said and 'OK' in said and f'next: denseclip train {out}' in said
    config = Config.fromfile(out)
    count = len(config.train_dataloader.dataset.metainfo.classes)
    assert config.model.bbox_head.num_classes == count
    assert config.model.neck.in_channels == [24, 40, 112, 320 + count]
    assert config.train_dataloader.dataset.type == 'NamedCocoDataset' and config.train_dataloader.batch_size == 8
    assert config.val_evaluator.ann_file == str(boxes / 'annotations/instances_val.json')
    resize = [step for step in config.test_pipeline if step.type == 'Resize']
    assert resize[0].scale == (128, 96)
    assert config.train_dataloader.dataset.pipeline == config.train_pipeline


def test_label_maps_need_names_that_fit(maps: Path, tmp_path: Path) -> None:
    out = tmp_path / 'streets.py'
    with pytest.raises(UserError, match='hold the ids 0, '):
        new_dataset(maps, out)
    with pytest.raises(UserError, match='names 2 classes, but the label maps hold the ids'):
        new_dataset(maps, out, classes='sky; road')
    assert not out.exists()
    made = new_dataset(maps, out, classes=CAMVID)
    config = Config.fromfile(out)
    assert made.ok and len(made.vocabulary) == 12
    assert Vocabulary.of(config.model.vocabulary) == Vocabulary.of(CAMVID)
    assert config.model.decode_head.loss_decode == dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
    assert config.model.identity_head.loss_decode.loss_weight == 0.4
    with pytest.raises(UserError, match='--force'):
        new_dataset(maps, out, classes=CAMVID)
    new_dataset(maps, out, classes=CAMVID, force=True)
    out.write_text('model = dict()\n')
    with pytest.raises(UserError, match='was not written by denseclip new-dataset'):
        new_dataset(maps, out, classes=CAMVID, force=True)
    with pytest.raises(UserError, match='is the base itself'):
        new_dataset(maps, out, classes=CAMVID, base=out, force=True)
    assert out.read_text() == 'model = dict()\n'


def test_words_given_for_boxes_stand_for_names_in_the_files(boxes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='names 1 classes, the boxes have'):
        new_dataset(boxes, tmp_path / 'a.py', classes='cell')
    made = new_dataset(boxes, tmp_path / 'a.py', classes='erythrocyte = red cell; leukocyte; thrombocyte')
    config = Config.fromfile(made.config)
    assert config.model.vocabulary == [('erythrocyte', ('red cell',)), 'leukocyte', 'thrombocyte']
    assert config.train_dataloader.dataset.metainfo.classes[0] == 'red blood cell'


def test_words_are_read_before_anything_is_converted(boxes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'cells'
    shutil.copytree(boxes, root)
    for split in ('val', 'test'):
        (root / f'annotations/instances_{split}.json').unlink()  # what is left is divided, hence converted
    with pytest.raises(UserError, match='--classes: '):
        new_dataset(root, tmp_path / 'a.py', classes='cell; cell', converted=tmp_path / 'made')
    assert not (tmp_path / 'made').exists()


def test_names_that_the_grammar_would_take_apart(boxes: Path, tmp_path: Path) -> None:
    root = tmp_path / 'cells'
    shutil.copytree(boxes, root)
    for path in (root / 'annotations').glob('*.json'):
        content = json.loads(path.read_text())
        content['categories'][0]['name'] = 'red; round = cell'
        path.write_text(json.dumps(content))
    made = new_dataset(root, tmp_path / 'a.py')
    found = Vocabulary.of(Config.fromfile(made.config).model.vocabulary)
    assert found.classes == made.vocabulary.classes and found.names[0] == 'red; round = cell' and len(found) == 3


hostile = st.lists(
    st.one_of(
        st.sampled_from(['{{ fileDirname }}', '{{$HOME:x}}', '{{ _base_.model }}', "'", '"', '\n', '\\', '#', '\x1b']),
        st.text(max_size=6),
    ),
    max_size=4,
).map(''.join)
folders = hostile.map(lambda name: name.replace('/', '').replace('\0', '')[:40] + '\udcff')


def config_of(made: NewDataset) -> Config:
    """The config as it is loaded and, equal to it, as MMEngine's dump of it is; no text holds a mark."""
    config = Config.fromfile(made.config)
    dump = made.config.with_name('dump.py')
    config.dump(dump)
    assert Config.fromfile(dump).to_dict() == config.to_dict()
    for path in (made.config, dump):
        text = path.read_text(encoding='ascii')
        assert '{{' not in text and all(line.isprintable() for line in text.splitlines())
    return config


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(hostile, min_size=3, max_size=3), folder=folders)
def test_names_in_annotation_files_are_data(boxes: Path, tmp_path: Path, names: list[str], folder: str) -> None:
    names = [f'{name}{place}' for place, name in enumerate(names)]  # no two are the same
    root = Path(tempfile.mkdtemp(dir=tmp_path)) / folder
    shutil.copytree(boxes, root)
    for path in (root / 'annotations').glob('*.json'):
        content = json.loads(path.read_text())
        for entry, name in zip(content['categories'], names, strict=True):
            entry['name'] = name
        path.write_text(json.dumps(content))
    made = new_dataset(root, root.with_name('a.py'))
    config = config_of(made)
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert dataset.metainfo.classes == tuple(names)
        assert Path(dataset.ann_file) == root / f'annotations/instances_{split}.json'
    assert Vocabulary.of(config.model.vocabulary).classes == made.vocabulary.classes


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(hostile, min_size=12, max_size=12), folder=folders)
def test_words_of_label_maps_are_data(maps: Path, tmp_path: Path, names: list[str], folder: str) -> None:
    words = [(f'{name} {place}', [f'{name} {place} too']) for place, name in enumerate(names)]
    root = Path(tempfile.mkdtemp(dir=tmp_path)) / folder
    root.symlink_to(maps, target_is_directory=True)
    made = new_dataset(root, root.with_name('a.py'), classes=words)
    config = config_of(made)
    assert made.ok and config.train_dataloader.dataset.metainfo.classes == Vocabulary.of(words).names
    assert config.train_dataloader.dataset.data_prefix.img_path == str(root / 'train')
    assert Vocabulary.of(config.model.vocabulary) == Vocabulary.of(words)


@pytest.mark.parametrize('name', ['camvid', 'classes.txt', 'a; b', 'a = b', 'a, b'])
def test_a_word_is_never_a_list_or_a_file(boxes: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / 'cells'
    shutil.copytree(boxes, root)
    for path in (root / 'annotations').glob('*.json'):
        content = json.loads(path.read_text())
        first = content['categories'][0]
        content['annotations'] = [box for box in content['annotations'] if box['category_id'] == first['id']]
        content['categories'] = [{**first, 'name': name}]
        path.write_text(json.dumps(content))
    made = new_dataset(root, tmp_path / 'a.py')
    assert Vocabulary.of(Config.fromfile(made.config).model.vocabulary).names == (name,)


def test_a_base_that_mmengine_would_look_for_in_a_package(boxes: Path, tmp_path: Path) -> None:
    base = tmp_path / 'my::configs/base.py'
    base.parent.mkdir()
    Config.fromfile(Path(__file__).parents[2] / BASES['boxes']).dump(base)
    with pytest.raises(UserError, match='copy the base'):
        new_dataset(boxes, tmp_path / 'a.py', base=base)
    assert not (tmp_path / 'a.py').exists()


def test_base_of_the_other_kind(boxes: Path, tmp_path: Path) -> None:
    base = Path(__file__).parents[2] / 'configs/denseclip/denseclip_fpn_efficientnet-lite0_camvid-320x400.py'
    with pytest.raises(UserError, match='trains on label maps, the data has boxes'):
        new_dataset(boxes, tmp_path / 'a.py', base=base)


def test_another_base_keeps_its_sizes(boxes: Path, tmp_path: Path) -> None:
    base = Path(__file__).parents[2] / 'configs/denseclip/denseclip_mask-rcnn_clip-r50_fpn_1x_coco-1333x800.py'
    made = new_dataset(boxes, tmp_path / 'a.py', base=base)
    config, count = Config.fromfile(made.config), len(made.vocabulary)
    assert config.model.roi_head.bbox_head.num_classes == config.model.roi_head.mask_head.num_classes == count
    assert config.model.neck.in_channels[-1] == 2048 + count
    assert config.train_pipeline == Config.fromfile(base).train_pipeline


def test_damaged_boxes_are_said_and_the_exit_code_tells(boxes: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / 'cells'
    shutil.copytree(boxes, root)
    path = root / 'annotations/instances_train.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'][3] = 0
    path.write_text(json.dumps(content))
    assert main(['new-dataset', str(root), '--out', str(tmp_path / 'a.py')]) == 2
    assert 'thinner than a pixel' in capsys.readouterr().out


@pytest.mark.slow
def test_the_config_trains_a_detector(boxes: Path, tmp_path: Path) -> None:
    # that of label maps is trained with the guide in docs/own_data.md
    made = new_dataset(boxes, tmp_path / 'mine.py')
    overrides = {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1, 'param_scheduler': []}
    for split in ('train', 'val'):
        overrides |= {f'{split}_dataloader.num_workers': 0, f'{split}_dataloader.persistent_workers': False}
    overrides['train_dataloader.batch_size'] = 4
    runner = train(made.config, TrainOptions(work_dir=str(tmp_path / 'work'), overrides=overrides, seed=0))
    assert runner.iter == 2
    assert runner.message_hub.get_scalar('val/coco/bbox_mAP').current() >= -1


def test_words_follow_the_names_of_the_files_in_any_order(boxes: Path, tmp_path: Path) -> None:
    made = new_dataset(
        boxes, tmp_path / 'a.py', classes='thrombocyte = Platelets; WBC = white_blood cell; red  Blood Cell'
    )
    config = Config.fromfile(made.config)
    assert config.train_dataloader.dataset.metainfo.classes == ('red blood cell', 'white blood cell', 'platelets')
    assert made.vocabulary.names == ('red Blood Cell', 'WBC', 'thrombocyte') and made.ok
    assert Vocabulary.of(config.model.vocabulary) == made.vocabulary and not any('->' in note for note in made.notes)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_every_order_of_words_gives_the_same_classes(order: list[int], hidden: list[bool]) -> None:
    names = ['sky', 'Building', 'street_lamp', 'road']
    written = [(f'word {i}', [names[i].upper()]) if hidden[i] else names[i].replace('_', ' ') for i in order]
    words, told = in_order_of(names, Vocabulary.of(written))
    assert told == ()
    for name, entry in zip(names, words.classes, strict=True):
        assert plain_name(name) in map(plain_name, entry.names)


def test_words_of_which_only_some_are_names_are_refused() -> None:
    names = ['cat', 'dog', 'bird']
    with pytest.raises(UserError, match='not "bird".*"fowl = bird"'):
        in_order_of(names, Vocabulary.of('fowl; dog; cat'))
    with pytest.raises(UserError, match='not a class for "fowl"'):
        in_order_of(names, Vocabulary.of('beast = cat, dog; bird; fowl'))
    words, told = in_order_of(names, Vocabulary.of('felid; canid; fowl'))
    assert words.names == ('felid', 'canid', 'fowl') and told[0] == "'cat' of the files -> felid" and len(told) == 3


def test_ids_of_a_list_are_those_of_the_label_maps(tmp_path: Path) -> None:
    root = tmp_path / 'own'
    for stem in 'abcde':
        for part, pixels in (('images', np.zeros((16, 16, 3), np.uint8)), ('masks', np.full((16, 16), 7, np.uint8))):
            (root / part).mkdir(parents=True, exist_ok=True)
            pixels[:8] += 2
            Image.fromarray(pixels).save(root / part / f'{stem}.png')
    listed = tmp_path / 'ids.txt'
    listed.write_text('9: road\n7: sky\n')
    made = new_dataset(root, tmp_path / 'a.py', classes=listed)
    assert isinstance(made.data, LabelMapData) and made.data.class_ids == (7, 9) and made.ok
    assert made.vocabulary.names == ('sky', 'road') and any('those of their list: 7, 9' in note for note in made.notes)
    listed.write_text('1: sky\n2: road\n')
    with pytest.raises(UserError, match='label maps hold the ids 7, 9'):
        new_dataset(root, tmp_path / 'b.py', classes=listed)
