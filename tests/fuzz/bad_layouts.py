"""More bad inputs: values in COCO, YOLO, labelme, CVAT, colours, panoptic sets, masks; what does not go together."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bad_cases import SMALL_CLIP, Case, case
from PIL import Image

Content = dict[str, Any]
SIZE = (48, 64)
COCO = {
    'images': [{'id': k, 'file_name': f'{k}.png', 'height': 48, 'width': 64} for k in range(4)],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    'annotations': [
        {'id': k + 1, 'image_id': k % 4, 'category_id': 1 + k % 2, 'bbox': [4, 4, 20, 20], 'area': 400, 'iscrowd': 0}
        for k in range(6)
    ],
}
VALUES: dict[str, tuple[str, str, Any]] = {
    'height_null': ('images', 'height', None),
    'height_nan': ('images', 'height', math.nan),
    'height_negative': ('images', 'height', -48),
    'width_true': ('images', 'width', True),
    'width_list': ('images', 'width', [64]),
    'image_id_nan': ('images', 'id', math.nan),
    'image_id_list': ('images', 'id', [1]),
    'image_id_other_kind': ('images', 'id', 'first'),
    'file_name_number': ('images', 'file_name', 7),
    'area_text': ('annotations', 'area', 'large'),
    'area_infinite': ('annotations', 'area', math.inf),
    'box_true': ('annotations', 'bbox', [1, 1, True, 9]),
    'box_number_text': ('annotations', 'bbox', ['1', '1', '9', '9']),
    'crowd_text': ('annotations', 'iscrowd', 'no'),
    'category_id_text': ('annotations', 'category_id', 'cat'),
    'annotation_id_object': ('annotations', 'id', {}),
    'category_own_id_text': ('categories', 'id', 'cat'),
    'category_name_list': ('categories', 'name', ['cat']),
}
PANOPTIC = {
    'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 48, 'width': 64}],
    'annotations': [
        {
            'image_id': 1,
            'file_name': 'a.png',
            'segments_info': [
                {'id': 1, 'category_id': 10, 'iscrowd': 0, 'area': 1536},
                {'id': 2, 'category_id': 30, 'iscrowd': 0, 'area': 1536},
            ],
        }
    ],
    'categories': [{'id': 30, 'name': 'ball', 'isthing': 1}, {'id': 10, 'name': 'sky', 'isthing': 0}],
}


def _first(content: Content) -> Content:
    return content['annotations'][0]['segments_info'][0]


PANOPTIC_FAULTS: dict[str, tuple[Callable[[Content], Any], int]] = {
    'id_text': (lambda c: _first(c).update(id='one'), 1),
    'id_null': (lambda c: _first(c).update(id=None), 1),
    'id_list': (lambda c: _first(c).update(id=[1]), 1),
    'category_unknown': (lambda c: _first(c).update(category_id=99), 1),
    'category_text': (lambda c: _first(c).update(category_id='sky'), 1),
    'category_list': (lambda c: _first(c).update(category_id=[10]), 1),
    'area_text': (lambda c: _first(c).update(area='large'), 1),
    'height_text': (lambda c: c['images'][0].update(height='tall'), 1),
    'name_number': (lambda c: c['categories'][0].update(name=5), 1),
    'name_null': (lambda c: c['categories'][0].update(name=None), 1),
    'image_id_list': (lambda c: c['annotations'][0].update(image_id=[1]), 1),
    'segments_text': (lambda c: c['annotations'][0].update(segments_info='none'), 1),
    'png_gone': (lambda c: c['annotations'][0].update(file_name='gone.png'), 1),
    'png_number': (lambda c: c['annotations'][0].update(file_name=3), 1),
    'picture_unknown': (lambda c: c['annotations'][0].update(image_id=9), 1),
}
BOX = '<box label="cat" xtl="2" ytl="3" xbr="{}" ybr="12"/>'
CVAT = {
    'broken': '<annotations><image',
    'box_text': f'<annotations><image name="0.png" width="64" height="48">{BOX.format("far")}</image></annotations>',
    'box_nan': f'<annotations><image name="0.png" width="64" height="48">{BOX.format("nan")}</image></annotations>',
    'size_text': f'<annotations><image name="0.png" width="wide" height="48">{BOX.format(9)}</image></annotations>',
    'picture_gone': f'<annotations><image name="x.png" width="64" height="48">{BOX.format(9)}</image></annotations>',
    'points_text': '<annotations><image name="0.png" width="64" height="48"><polygon label="cat" points="1,2;x;3,4"/>'
    '</image></annotations>',
    'no_images': '<annotations></annotations>',
}
SHAPE = {'label': 'cat', 'shape_type': 'rectangle', 'points': [[2, 3], [9, 12]]}
LABELME: dict[str, Any] = {
    'shapes_text': {'shapes': 'none'},
    'points_text': {'shapes': [{**SHAPE, 'points': 'here'}]},
    'points_nan': {'shapes': [{**SHAPE, 'points': [[math.nan, 3], [9, 12]]}]},
    'points_null': {'shapes': [{**SHAPE, 'points': [None, [9, 12]]}]},
    'label_number': {'shapes': [{**SHAPE, 'label': 5}]},
    'label_empty': {'shapes': [{**SHAPE, 'label': ''}]},
    'kind_unknown': {'shapes': [{**SHAPE, 'shape_type': 'spiral'}]},
    'height_text': {'shapes': [SHAPE], 'imageHeight': 'tall'},
}
YOLO = {
    'class_beyond': ('5 0.2 0.3 0.2 0.3\n', 'names: [cat, dog]\n'),
    'class_negative': ('-1 0.2 0.3 0.2 0.3\n', 'names: [cat, dog]\n'),
    'class_decimal': ('0.5 0.2 0.3 0.2 0.3\n', 'names: [cat, dog]\n'),
    'text': ('cat 0.2 0.3 0.2 0.3\n', 'names: [cat, dog]\n'),
    'nan': ('0 nan 0.3 0.2 0.3\n', 'names: [cat, dog]\n'),
    'pixels': ('0 20 30 20 30\n', 'names: [cat, dog]\n'),
    'three': ('0 0.2 0.3 0.2\n', 'names: [cat, dog]\n'),
    'yaml_broken': ('0 0.2 0.3 0.2 0.3\n', 'names: [cat\n'),
    'yaml_list': ('0 0.2 0.3 0.2 0.3\n', '- cat\n'),
    'names_number': ('0 0.2 0.3 0.2 0.3\n', 'names: 3\n'),
    'names_twice': ('0 0.2 0.3 0.2 0.3\n', 'names: [cat, cat]\n'),
    'names_no': ('0 0.2 0.3 0.2 0.3\n', 'names: [no, cat]\n'),
    'names_null': ('0 0.2 0.3 0.2 0.3\n', 'names: [null, cat]\n'),
}
COLOURS = {
    'of_several_sets': [(128, 128, 128), (128, 0, 0), (64, 0, 128)],
    'too_few': [(0, 0, 0), (0, 60, 100)],
    'of_no_set': [(1, 2, 3), (128, 64, 128), (9, 9, 1)],
    'first_of_voc': [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)],
}


def build_layouts(folder: Path, picture: np.ndarray) -> None:
    """Make the folders that :func:`layouts` names."""
    image = Image.fromarray(picture)
    for name, (part, key, value) in VALUES.items():
        content = copy.deepcopy(COCO)
        content[part][0][key] = value
        for split in ('train', 'val'):
            _put(folder / 'coco' / name / split, image, 4)
            _json(folder / 'coco' / name / 'annotations' / f'instances_{split}.json', content)
    for name, text in CVAT.items():
        _put(folder / 'cvat' / name / 'images', image, 4)
        (folder / 'cvat' / name / 'annotations.xml').write_text(text)
    for name, content in LABELME.items():
        _put(folder / 'labelme' / name, image, 4)
        for k in range(4):
            whole = {'version': '5.0', 'imagePath': f'{k}.png', 'imageHeight': 48, 'imageWidth': 64, **content}
            _json(folder / 'labelme' / name / f'{k}.json', whole)
    for name, (labels, names) in YOLO.items():
        for split in ('train', 'val'):
            _put(folder / 'yolo' / name / 'images' / split, image, 2)
            for k in range(2):
                path = folder / 'yolo' / name / 'labels' / split / f'{k}.txt'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(labels)
        (folder / 'yolo' / name / 'data.yaml').write_text(f'train: images/train\nval: images/val\n{names}')
    for name, colours in COLOURS.items():
        labels = np.resize(np.array(colours, np.uint8), (*SIZE, 3))
        for split in ('train', 'val'):
            _put(folder / 'colours' / name / 'images' / split, image, 2)
            _put(folder / 'colours' / name / 'masks' / split, Image.fromarray(labels), 2)
    _panoptic(folder / 'panoptic', image)
    _anomaly(folder / 'anomaly', image)


def _put(folder: Path, image: Image.Image, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        image.save(folder / f'{k}.png')


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _panoptic(folder: Path, image: Image.Image) -> None:
    segments = np.zeros((*SIZE, 3), np.uint8)
    segments[..., 0] = 1 + (np.arange(SIZE[1]) >= SIZE[1] // 2)
    for name, (change, _) in PANOPTIC_FAULTS.items():
        content = copy.deepcopy(PANOPTIC)
        change(content)
        root = folder / name
        _json(root / 'own.json', content)
        for part in ('img', 'png'):
            (root / part).mkdir()
        image.save(root / 'img/a.jpg')
        Image.fromarray(segments).save(root / 'png/a.png')
        steps = "[dict(type='LoadImageFromFile'), dict(type='LoadPanopticSegments'), dict(type='PackPanopticInputs')]"
        (root / 'own.py').write_text(
            f"default_scope = 'mmseg'\nval_dataloader = dict(dataset=dict(type='PanopticSegmentsDataset', "
            f"data_root={str(root)!r}, ann_file='own.json', data_prefix=dict(img_path='img', seg_map_path='png'), "
            f'pipeline={steps}))\n'
        )


def _anomaly(folder: Path, image: Image.Image) -> None:
    """A folder of masks alone, and masks of another size."""
    mask = Image.fromarray(np.full((5, 5), 255, np.uint8))
    for part in ('small/normal', 'small/crack'):
        _put(folder / part, image, 2)
    _put(folder / 'small/masks/crack', mask, 2)
    _put(folder / 'text_masks/normal', image, 2)
    _put(folder / 'text_masks/crack', image, 2)
    masks = folder / 'text_masks/masks/crack'
    masks.mkdir(parents=True)
    (masks / '0.png').write_text('no mask')


def layouts() -> Iterator[Case]:
    """Data sets of other layouts in ``new-dataset``, ``check_dataset.py`` and ``anomaly``."""
    group, end = 'denseclip new-dataset', '--out mine.py --converted made'
    harmless = ('labelme kind_unknown',)
    for kind, names in {'coco': VALUES, 'cvat': CVAT, 'labelme': LABELME, 'yolo': YOLO, 'colours': COLOURS}.items():
        for name in names:
            label = f'{kind} {name}'
            yield case(group, label, f'new-dataset {{w}}/layouts/{kind}/{name} {end}', refuse=label not in harmless)
    for label, text in {
        'colors unknown': 'maps/good --classes a;b --colors kitti',
        'colors of ids': 'maps/good --colors camvid',
        'colors of boxes': 'boxes/good --colors voc',
        'classes beside colors': 'layouts/colours/first_of_voc --colors voc --classes a;b',
        'ids of boxes': 'boxes/good --ids 1 2',
    }.items():
        yield case(group, label, f'new-dataset {{w}}/{text} {end}')
    for name, (_, code) in PANOPTIC_FAULTS.items():
        line = f'{{w}}/layouts/panoptic/{name}/own.py --split val'
        yield case('tools/check_dataset.py', f'panoptic {name}', line, code=code)
    for name in ('small', 'text_masks'):
        line = f'anomaly {{w}}/layouts/anomaly/{name} --object nut --out out --clip {SMALL_CLIP}'
        yield case('denseclip anomaly', f'masks {name}', line, refuse=False)


def combinations() -> Iterator[Case]:
    """Options that do not go together, resume paths, and settings that no run takes."""
    good, words = '{w}/pictures/good.png --out out', '--classes a;b'
    for label, text in {
        'preset and method': f'--preset maskclip --method ovseg {words}',
        'preset and weights': f'--preset maskclip --weights {{w}}/toy.pth {words}',
        'preset and task': f'--preset maskclip --task panoptic {words}',
        'preset and things': f'--preset maskclip --things a {words}',
        'preset and masks': f'--preset maskclip --masks superpixels {words}',
        'preset and score': f'--preset maskclip --score 0.5 {words}',
        'preset empty': f'--preset= {words}',
        'deep preset on a small tower': f'--preset gem --clip {SMALL_CLIP} {words}',
        'pretrained that does not exist': f'--preset maskclip --clip RN50 --pretrained gone.pt {words}',
        'method and config': f'--method ovseg --config {{w}}/toy.py {words}',
        'clip and config': f'--clip RN50 --config {{w}}/toy.py {words}',
        'threshold and prompts': f'--background prompts --threshold 0.1 {words}',
    }.items():
        yield case('denseclip segment', label, f'segment {good} {text}', target='out')
    group = 'tools/train.py'
    for label, text in {
        'resume missing': '--resume gone.pth',
        'resume folder': '--resume {w}/pictures',
        'resume picture': '--resume {w}/pictures/good.png',
        'resume empty': '--resume=',
        'work_dir empty folder name': '--work-dir {w}/toy.py/x',
    }.items():
        yield case(group, label, f'{{w}}/toy.py {text}')
    for item in (
        'model.decode_head.num_classes=0',
        'model.decode_head.num_classes=-1',
        'model.type=NoModel',
        'model=[1]',
        'optim_wrapper.type=No',
        'val_cfg.type=No',
        'custom_hooks=3',
        'default_hooks.checkpoint.interval=often',
        'default_hooks.checkpoint.type=No',
        'train_cfg.val_interval=0',
        'train_dataloader.dataset.type=No',
        'train_dataloader.dataset.metainfo.classes=3',
        'randomness.seed=x',
        'randomness.seed=-1',
        'work_dir=/proc/x',
    ):
        yield case(group, f'--cfg-options {item}', f'{{w}}/toy.py --cfg-options train_cfg.max_iters=2 {item}')
    for item in ('model=None', 'test_dataloader=None', 'test_dataloader.batch_size=0', 'test_evaluator=3'):
        yield case('tools/test.py', f'--cfg-options {item}', f'{{w}}/toy.py {{w}}/toy.pth --cfg-options {item}')
