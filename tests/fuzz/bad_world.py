"""Files for ``bad_inputs.py``: pictures, weights, word lists, configs and data sets, sound ones and damaged ones."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bad_layouts import build_layouts
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from safetensors.torch import save_file
from tiny_detectors import detection_run

ROOT = Path(__file__).parents[2]
SIZE = (48, 64)


class Marker:
    """A pickle that would make a file if it were run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def build_world(folder: Path) -> None:
    """Make everything that cases refer to."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    _pictures(folder / 'pictures', picture)
    _data(folder / 'data')
    _configs(folder)
    _weights(folder / 'weights', folder)
    _words(folder / 'words')
    _boxes(folder / 'boxes', picture)
    _maps(folder / 'maps', picture)
    _anomalies(folder / 'anomalies', picture)
    build_layouts(folder / 'layouts', picture)
    _faulty_sets(folder / 'faulty', folder / 'data/CamVid')
    for name in ('toy', 'detector'):
        _random_weights(folder / f'{name}.py', folder / f'{name}.pth')


def _random_weights(config: Path, target: Path) -> None:
    read = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope(read.default_scope):
        model = MODELS.build(read.model)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, target)


def _faulty_sets(folder: Path, source: Path) -> None:
    """CamVid with one fault each, in the first training picture; names as in ``bad_cases.FAULTY_SETS``."""
    high, colours = np.full(SIZE, 99, np.uint8), np.zeros((*SIZE, 3), np.uint8)
    for name, file, content in (
        ('picture_empty', 'train/train_000000.png', b''),
        ('picture_cut', 'train/train_000000.png', 200),
        ('labels_empty', 'trainannot/train_000000.png', b''),
        ('labels_gone', 'trainannot/train_000000.png', None),
        ('labels_small', 'trainannot/train_000000.png', high[:20] * 0),
        ('labels_high', 'trainannot/train_000000.png', high),
        ('labels_colours', 'trainannot/train_000000.png', colours),
    ):
        path = shutil.copytree(source, folder / name) / file
        if content is None:
            path.unlink()
        elif isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
    for part in ('train', 'trainannot'):
        (folder / 'empty' / part).mkdir(parents=True)


def _pictures(folder: Path, picture: np.ndarray) -> None:
    folder.mkdir()
    image = Image.fromarray(picture)
    image.save(folder / 'good.png')
    image.save(folder / 'good.jpg')
    good = (folder / 'good.png').read_bytes()
    jpeg = (folder / 'good.jpg').read_bytes()
    bad = {
        'empty.png': b'',
        'text.png': b'this is no picture\n',
        'html.jpg': b'<!doctype html><html><body>404</body></html>',
        'cut.png': good[: len(good) // 2],
        'cut.jpg': jpeg[:200],
        'head.png': good[:20],
        'zip.png': b'PK\x03\x04' + bytes(100),
        'bomb.png': _png(60000, 60000),
        'nothing.png': _png(0, 0),
        'flipped.png': good[:60] + bytes([good[60] ^ 255]) + good[61:],
        'random.png': np.random.default_rng(1).bytes(500),
        'vector.svg': b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
        'no_suffix': b'',
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / 'folder.png').mkdir()
    (folder / 'empty_folder').mkdir()
    (folder / 'loop.png').symlink_to(folder / 'loop.png')
    (folder / 'dangling.png').symlink_to(folder / 'gone.png')
    os.mkfifo(folder / 'pipe.png')
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / 'dot.png')


def _png(width: int, height: int) -> bytes:
    """A picture that says it is so large and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(10))) + chunk(b'IEND', b'')
    )


def _data(folder: Path) -> None:
    write_dataset('camvid', folder / 'CamVid', num_train=4, num_val=2, size=SIZE)
    write_dataset('coco', folder / 'coco', num_train=4, num_val=2, size=(64, 96))


def _configs(folder: Path) -> None:
    """A segmentor and a detector that work, and configs that do not."""
    toy = (ROOT / 'tests/engine/toy_fpn.py').read_text()
    (folder / 'toy.py').write_text(toy.replace("'data/CamVid'", repr(str(folder / 'data/CamVid'))))
    _detector(folder)
    place = folder / 'configs'
    place.mkdir()
    texts = {
        'syntax.py': 'model = dict(\n',
        'name.py': 'model = dict(type=undefined)\n',
        'divide.py': 'model = 1 / 0\n',
        'exits.py': 'import sys\nsys.exit(0)\n',
        'base_gone.py': "_base_ = ['./gone.py']\n",
        'base_self.py': "_base_ = ['./base_self.py']\n",
        'base_list.py': '_base_ = [3]\n',
        'imports.py': "custom_imports = dict(imports=['no_such_module'])\n",
        'empty.py': '',
        'model_text.py': "model = 'EncoderDecoder'\n",
        'model_list.py': 'model = [1, 2]\n',
        'model_none.py': 'model = None\n',
        'model_untyped.py': 'model = dict(backbone=dict())\n',
        'model_unknown.py': "default_scope = 'mmseg'\nmodel = dict(type='NoSuchModel')\n",
        'broken.json': '{"model": ',
        'list.json': '[1, 2]',
        'broken.yaml': 'model: [1, 2\n',
        'config.txt': 'model = dict()\n',
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    (place / 'bytes.py').write_bytes(bytes(range(256)))
    (place / 'nul.py').write_bytes(b'model = dict()\n\0\n')
    (place / 'folder.py').mkdir()
    (place / 'scope.py').write_text(f"_base_ = ['{folder / 'toy.py'}']\ndefault_scope = 'nobody'\n")
    changes = {
        'head_unknown.py': "model = dict(decode_head=dict(type='FPNHed'))\n",
        'head_argument.py': 'model = dict(decode_head=dict(chanels=3))\n',
        'head_none.py': 'model = dict(decode_head=None)\n',
        'classes_less.py': 'model = dict(decode_head=dict(num_classes=3))\n',
        'channels.py': 'model = dict(decode_head=dict(in_channels=[16, 16]))\n',
        'loader_text.py': "train_dataloader = dict(_delete_=True, dataset='CamVid')\n",
        'loader_number.py': 'train_dataloader = 3\ntest_dataloader = 3\n',
        'pipeline.py': "_p = [dict(type='LoadImg')]\ntrain_dataloader = dict(dataset=dict(pipeline=_p))\n"
        'val_dataloader = dict(dataset=dict(pipeline=_p))\ntest_dataloader = dict(dataset=dict(pipeline=_p))\n'
        'test_pipeline = _p\n',
        'evaluator.py': "test_evaluator = dict(_delete_=True, type='IoU')\nval_evaluator = test_evaluator\n",
        'optimizer.py': "optim_wrapper = dict(optimizer=dict(type='Adamm'))\n",
        'schedule.py': "param_scheduler = [dict(type='PolyLRR')]\n",
        'iters.py': 'train_cfg = dict(max_iters=-1)\n',
        'iters_text.py': "train_cfg = dict(max_iters='many')\n",
        'loop.py': "train_cfg = dict(type='NoLoop')\n",
        'hook.py': "custom_hooks = [dict(type='NoHook')]\n",
        'hook_text.py': "custom_hooks = 'NoHook'\n",
        'nan.py': "optim_wrapper = dict(optimizer=dict(lr=float('nan')))\n",
        'loss_infinite.py': 'optim_wrapper = dict(optimizer=dict(lr=1e30))\nparam_scheduler = []\n',
        'load_from.py': "load_from = 'no_such_file.pth'\n",
        'classes_list.py': "train_dataloader = dict(dataset=dict(metainfo=dict(classes=['sky', 'moon'])))\n",
    }
    (folder / 'changed').mkdir()
    for name, text in changes.items():
        (folder / 'changed' / name).write_text(f"_base_ = ['{folder / 'toy.py'}']\n{text}")


def _detector(folder: Path) -> None:
    made = detection_run('retinanet', folder / 'data/coco', epochs=1)
    made.dump(folder / 'detector.py')


def _weights(folder: Path, world: Path) -> None:
    folder.mkdir()
    state = {'backbone.conv1.weight': torch.randn(4, 4), 'decode_head.conv_seg.bias': torch.zeros(11)}
    torch.save({'state_dict': state, 'meta': {}}, folder / 'other.pth')
    torch.save(state, folder / 'bare.pth')
    save_file(state, folder / 'other.safetensors')
    whole, safe = (folder / 'other.pth').read_bytes(), (folder / 'other.safetensors').read_bytes()
    contents = {
        'empty.pth': b'',
        'empty.safetensors': b'',
        'text.pth': b'not weights\n',
        'text.safetensors': b'not weights at all\n',
        'cut.pth': whole[: len(whole) // 2],
        'cut.safetensors': safe[: len(safe) // 2],
        'random.pth': np.random.default_rng(2).bytes(3000),
        'random.safetensors': np.random.default_rng(3).bytes(3000),
        'header.safetensors': struct.pack('<Q', 1 << 60) + safe[8:],
        'list.safetensors': struct.pack('<Q', 2) + b'[]',
        'nothing.safetensors': struct.pack('<Q', 2) + b'{}',
        'page.pth': b'<!doctype html><html><body>Sign in</body></html>',
        'pointer.safetensors': b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'0' * 64 + b'\nsize 9\n',
        'zip.pth': b'PK\x05\x06' + bytes(18),
        'flipped.pth': whole[:-200] + bytes([whole[-200] ^ 255]) + whole[-199:],
        'pickle.pth': pickle.dumps(Marker(world / 'marker')),
        'json.pth': json.dumps({'a': [1.0]}).encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / 'folder.pth').mkdir()
    (folder / 'dangling.pth').symlink_to(folder / 'gone.pth')
    torch.save({'state_dict': {}}, folder / 'none.pth')
    torch.save({'state_dict': [1, 2]}, folder / 'list.pth')
    torch.save([1, 2, 3], folder / 'numbers.pth')
    torch.save('text', folder / 'string.pth')
    torch.save({'state_dict': {'a': 3}}, folder / 'number.pth')
    torch.save({'state_dict': {'a': torch.eye(3).to_sparse()}}, folder / 'sparse.pth')
    torch.save({'state_dict': {'a': torch.empty(3, device='meta')}}, folder / 'meta.pth')
    torch.save({'state_dict': {key: value * float('nan') for key, value in state.items()}}, folder / 'nan.pth')
    torch.save({'state_dict': state, 'run': Marker(world / 'marker')}, folder / 'marked.pth')


def _words(folder: Path) -> None:
    folder.mkdir()
    contents = {
        'good.txt': b'sky\nroad\n',
        'empty.txt': b'',
        'comments.txt': b'# nothing\n\n',
        'bytes.txt': bytes(range(256)),
        'latin.txt': 'Straße\n'.encode('latin-1'),
        'utf16.txt': 'sky\nroad\n'.encode('utf-16'),
        'nul.txt': b'sky\0road\n',
        'twice.txt': b'sky\nsky\n',
        'synonyms.txt': b'car=auto\nbus=auto\n',
        'separators.txt': b';;;\n===\n,,,\n',
        'long.txt': b'x' * 100_000 + b'\nsky\n',
        'controls.txt': b'\x1b[31mred\x07\n\r\n',
        'numbers.json': b'[1, 2, 3]',
        'nested.json': b'[["a", ["b"]]]',
        'null.json': b'null',
        'broken.json': b'["a", ',
        'empty.json': b'[]',
        'object.json': b'{"a": {"b": {"c": 1}}}',
        'broken.yaml': b'- a\n- [b\n',
        'ragged.csv': b'id,name\n0,sky,extra\n1\n',
        'picture.txt': b'\x89PNG\r\n\x1a\n' + bytes(50),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / 'folder.txt').mkdir()


def _coco(boxes: list[Any]) -> dict[str, Any]:
    return {
        'images': [{'id': k, 'file_name': f'{k}.png', 'height': SIZE[0], 'width': SIZE[1]} for k in range(4)],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
        'annotations': [
            {'id': k + 1, 'image_id': k % 4, 'category_id': 1 + k % 2, 'bbox': box, 'area': 100, 'iscrowd': 0}
            for k, box in enumerate(boxes)
        ],
    }


def _boxes(folder: Path, picture: np.ndarray) -> None:
    """Folders in COCO's layout, each with one fault; and VOC and YOLO ones."""
    sound = [[4, 4, 20, 20]] * 4
    good = _coco(sound)
    faults: dict[str, Any] = {
        'good': good,
        'not_json': b'{"images": [',
        'empty_file': b'',
        'a_list': [1, 2],
        'a_number': 3,
        'no_images': {key: good[key] for key in ('categories', 'annotations')},
        'no_categories': {key: good[key] for key in ('images', 'annotations')},
        'no_annotations': {key: good[key] for key in ('images', 'categories')},
        'images_text': {**good, 'images': 'none'},
        'annotations_null': {**good, 'annotations': None},
        'categories_names': {**good, 'categories': ['cat', 'dog']},
        'category_unknown': {**good, 'annotations': [{**a, 'category_id': 9} for a in good['annotations']]},
        'image_unknown': {**good, 'annotations': [{**a, 'image_id': 77} for a in good['annotations']]},
        'ids_twice': {**good, 'images': [{**i, 'id': 0} for i in good['images']]},
        'annotation_ids_twice': {**good, 'annotations': [{**a, 'id': 1} for a in good['annotations']]},
        'names_gone': {**good, 'images': [{**i, 'file_name': f'gone{i["id"]}.png'} for i in good['images']]},
        'names_outside': {
            **good,
            'images': [{**i, 'file_name': f'../../good/train/{i["id"]}.png'} for i in good['images']],
        },
        'names_absolute': {**good, 'images': [{**i, 'file_name': '/etc/hostname'} for i in good['images']]},
        'sizes_wrong': {**good, 'images': [{**i, 'height': 7, 'width': 7} for i in good['images']]},
        'sizes_text': {**good, 'images': [{**i, 'height': 'tall'} for i in good['images']]},
        'box_negative': _coco([[4, 4, -5, 10]] * 4),
        'box_outside': _coco([[500, 500, 10, 10]] * 4),
        'box_nan': _coco([[float('nan'), 1, 2, 3]] * 4),
        'box_infinite': _coco([[1, 1, float('inf'), 3]] * 4),
        'box_huge': _coco([[1, 1, 1e308, 1e308]] * 4),
        'box_three': _coco([[1, 2, 3]] * 4),
        'box_text': _coco([['a', 'b', 'c', 'd']] * 4),
        'box_null': _coco([None] * 4),
        'category_name_number': {**good, 'categories': [{'id': 1, 'name': 5}, {'id': 2, 'name': None}]},
        'category_name_empty': {**good, 'categories': [{'id': 1, 'name': ''}, {'id': 2, 'name': ' '}]},
        'segmentation_text': {**good, 'annotations': [{**a, 'segmentation': 'abc'} for a in good['annotations']]},
        'segmentation_odd': {**good, 'annotations': [{**a, 'segmentation': [[1, 2, 3]]} for a in good['annotations']]},
    }
    for name, content in faults.items():
        for split in ('train', 'val'):
            place = folder / name / split
            place.mkdir(parents=True)
            for k in range(4):
                Image.fromarray(picture).save(place / f'{k}.png')
            notes = folder / name / 'annotations' / f'instances_{split}.json'
            notes.parent.mkdir(exist_ok=True)
            notes.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    _voc(folder, picture)


def _voc(folder: Path, picture: np.ndarray) -> None:
    box = (
        '<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>'
    )
    size = f'<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>'
    texts = {
        'voc_good': f'<annotation>{size}{box.format(2)}</annotation>',
        'voc_broken': '<annotation><object>',
        'voc_empty': '',
        'voc_number': f'<annotation>{size}{box.format("two")}</annotation>',
        'voc_no_name': f'<annotation>{size}{box.format(2).replace("<name>cat</name>", "")}</annotation>',
        'voc_no_box': f'<annotation>{size}<object><name>cat</name></object></annotation>',
        'voc_other': '<html></html>',
    }
    for name, text in texts.items():
        for part in ('JPEGImages', 'Annotations'):
            (folder / name / part).mkdir(parents=True)
        for k in range(6):
            Image.fromarray(picture).save(folder / name / 'JPEGImages' / f'{k}.jpg')
            (folder / name / 'Annotations' / f'{k}.xml').write_text(text)


def _maps(folder: Path, picture: np.ndarray) -> None:
    """Folders of label maps, each with one fault."""
    plain = np.zeros(SIZE, np.uint8)
    plain[10:30, 10:30] = 1
    faults: dict[str, Any] = {
        'good': plain,
        'size': plain[:20],
        'colours': picture,
        'alpha': np.dstack([picture, plain]),
        'floats': plain.astype(np.float32) / 3,
        'high': plain + 200,
        'empty': b'',
        'text': b'hello',
        'cut': None,
    }
    for name, labels in faults.items():
        for split in ('train', 'val'):
            for part in ('images', 'labels'):
                (folder / name / part / split).mkdir(parents=True)
            for k in range(3):
                Image.fromarray(picture).save(folder / name / 'images' / split / f'{k}.png')
                target = folder / name / 'labels' / split / f'{k}.png'
                if isinstance(labels, bytes):
                    target.write_bytes(labels)
                elif labels is None:
                    Image.fromarray(plain).save(target)
                    target.write_bytes(target.read_bytes()[:60])
                elif labels.dtype == np.float32:
                    Image.fromarray(labels).save(target.with_suffix('.tiff'))
                else:
                    Image.fromarray(labels).save(target)
    shutil.copytree(folder / 'good', folder / 'unpaired')
    for file in (folder / 'unpaired/labels/train').iterdir():
        file.rename(file.with_name(f'other{file.name}'))
    shutil.copytree(folder / 'good', folder / 'no_labels')
    shutil.rmtree(folder / 'no_labels/labels')
    shutil.copytree(folder / 'good', folder / 'no_pictures')
    for file in (folder / 'no_pictures/images').rglob('*.png'):
        file.unlink()


def _anomalies(folder: Path, picture: np.ndarray) -> None:
    for name, files in {
        'good': ('normal/0.png', 'normal/1.png', 'crack/0.png'),
        'flat': ('0.png', '1.png'),
        'one': ('0.png',),
    }.items():
        for file in files:
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    shutil.copytree(folder / 'good', folder / 'damaged')
    (folder / 'damaged/crack/0.png').write_bytes(b'')
    (folder / 'all_damaged').mkdir()
    for name in ('0.png', '1.png'):
        (folder / 'all_damaged' / name).write_bytes(b'no picture')
    (folder / 'no_pictures').mkdir()
    (folder / 'no_pictures/notes.txt').write_text('hello')
    (folder / 'empty').mkdir()
