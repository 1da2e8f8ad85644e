"""A damaged or odd data set is refused in words or trained under its own names; nothing of it is ever touched."""

import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
from _trees import contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import new_dataset
from denseclip.clip.vocabulary import VocabularyError
from denseclip.datasets.converters.layout import ConversionError
from denseclip.datasets.files import UnreadableFileError

SENTENCES = (UserError, ConversionError, UnreadableFileError, VocabularyError)
NAMES = ('ball', 'big box', 'tree')
_ODD = st.sampled_from(
    [
        'null',
        'true',
        '-1',
        '0',
        '1e9',
        'NaN',
        '"word"',
        '[]',
        '{}',
        '3.7',
        '[1, 2]',
        '""',
        '99999999999999999999',
        '"{{ x }}"',
        '1.0',
    ]
)
_ODD_TEXT = st.sampled_from(
    ['', ' ', '-1', 'nan', '1e30', 'x', '0', '255', '{{ x }}', '\u00e9', '\n', '<', '"', '../..', '1,2']
)


def _picture(path, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 48, 3), value, np.uint8)).save(path)


def _coco(root, split, first):
    images = [{'id': n + 1, 'file_name': f'{split}_{n}.png', 'width': 48, 'height': 40} for n in range(2)]
    boxes = [
        {
            'id': first + 3 * n + k,
            'image_id': n + 1,
            'category_id': 5 - k,
            'bbox': [2 + 8 * k, 3, 6, 9],
            'area': 54,
            'iscrowd': 0,
            'segmentation': [[2 + 8 * k, 3, 8 + 8 * k, 3, 8 + 8 * k, 12, 2 + 8 * k, 12]],
        }
        for n in range(2)
        for k in range(3)
    ]
    for image in images:
        _picture(root / split / image['file_name'])
    categories = [{'id': 5 - k, 'name': name} for k, name in enumerate(NAMES)]
    return {'images': images, 'annotations': boxes, 'categories': categories}


def coco(root):
    """Two files, pictures in folders."""
    for first, split in ((1, 'train'), (50, 'val')):
        path = root / 'annotations' / f'instances_{split}.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(_coco(root, split, first)))


def coco_undivided(root):
    """One file."""
    (root / 'labels.json').write_text(json.dumps(_coco(root, 'pictures', 1)))


def voc(root):
    """XML files with lists."""
    for n in range(4):
        _picture(root / 'JPEGImages' / f'{n}.jpg')
        objects = ''.join(
            f'<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{2 + 8 * k}</xmin><ymin>3</ymin>'
            f'<xmax>{9 + 8 * k}</xmax><ymax>12</ymax></bndbox></object>'
            for k, name in enumerate(NAMES)
        )
        path = root / 'Annotations' / f'{n}.xml'
        path.parent.mkdir(exist_ok=True)
        size = '<size><width>48</width><height>40</height><depth>3</depth></size>'
        path.write_text(f'<annotation><filename>{n}.jpg</filename>{size}{objects}</annotation>')
    lists = root / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('0\n1\n2\n')
    (lists / 'val.txt').write_text('3\n')


def yolo(root):
    """Text files beside a YAML file."""
    for split in ('train', 'val'):
        for n in range(2):
            _picture(root / 'images' / split / f'{n}.png')
            path = root / 'labels' / split / f'{n}.txt'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('0 0.2 0.3 0.2 0.3\n1 0.6 0.5 0.25 0.5\n2 0.1 0.1 0.3 0.1 0.3 0.4\n')
    (root / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [ball, big box, tree]\n')


def labelme(root):
    """A JSON file beside each picture."""
    for n in range(4):
        _picture(root / f'{n}.png')
        shapes = [
            {'label': NAMES[0], 'shape_type': 'rectangle', 'points': [[2, 3], [9, 12]]},
            {'label': NAMES[1], 'shape_type': 'polygon', 'points': [[12, 3], [20, 3], [20, 12]]},
            {'label': NAMES[2], 'shape_type': 'rectangle', 'points': [[22, 3], [29, 20]]},
        ]
        content = {'version': '5.0', 'shapes': shapes, 'imagePath': f'{n}.png', 'imageHeight': 40, 'imageWidth': 48}
        (root / f'{n}.json').write_text(json.dumps(content))


def cvat(root):
    """One XML file for all pictures."""
    images = ''
    for n in range(4):
        _picture(root / 'images' / f'{n}.png')
        images += (
            f'<image id="{n}" name="{n}.png" width="48" height="40">'
            '<box label="ball" xtl="2" ytl="3" xbr="9" ybr="12"/><polygon label="big box" points="12,3;20,3;20,12"/>'
            '<box label="tree" xtl="22" ytl="3" xbr="29" ybr="20"/></image>'
        )
    labels = ''.join(f'<label><name>{name}</name></label>' for name in NAMES)
    meta = f'<meta><task><labels>{labels}</labels></task></meta>'
    (root / 'annotations.xml').write_text(f'<annotations><version>1.1</version>{meta}{images}</annotations>')


def _labels(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    maps = np.zeros((40, 48), np.uint8)
    for k, value in enumerate(ids):
        maps[:, 8 * k : 8 * k + 8] = value
    Image.fromarray(maps).save(path)


def label_maps(root):
    """Folders of pictures and of label maps."""
    for split in ('train', 'val'):
        for n in range(2):
            _picture(root / 'images' / split / f'{n}.jpg')
            _labels(root / 'masks' / split / f'{n}.png', (0, 1, 2, 255))


def flat_label_maps(root):
    """One folder each."""
    for n in range(5):
        _picture(root / 'images' / f'{n}.jpg')
        _labels(root / 'masks' / f'{n}.png', (0, 1, 2))


def colour_maps(root):
    """Colours and their list."""
    colours = {'background': (0, 0, 0), 'ball': (255, 0, 0), 'tree': (0, 200, 30)}
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    for n in range(4):
        _picture(root / 'JPEGImages' / f'{n}.jpg')
        maps = np.zeros((40, 48, 3), np.uint8)
        for k, colour in enumerate(colours.values()):
            maps[:, 8 * k : 8 * k + 8] = colour
        path = root / 'SegmentationClass' / f'{n}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(maps).save(path)
    lines = [f'{name}:{",".join(map(str, colour))}::' for name, colour in colours.items()]
    (root / 'labelmap.txt').write_text('\n'.join(['# label:color_rgb:parts:actions', *lines]))
    (lists / 'default.txt').write_text('0\n1\n2\n3\n')


LAYOUTS = (coco, coco_undivided, voc, yolo, labelme, cvat, label_maps, flat_label_maps, colour_maps)


@st.composite
def _damage(draw):
    """What happens to one file: which, how, and with what."""
    how = draw(
        st.sampled_from(
            ['value', 'value', 'value', 'text', 'cut', 'byte', 'remove', 'rename', 'empty', 'twin', 'folder']
        )
    )
    return (
        how,
        draw(st.integers(0, 30)),
        draw(st.integers(0, 3000)),
        draw(_ODD),
        draw(_ODD_TEXT),
        draw(st.integers(0, 255)),
    )


def _do(root, damage):
    how, which, place, odd, text, byte = damage
    files = sorted(path for path in root.rglob('*') if path.is_file())
    if how in ('value', 'text'):
        files = [path for path in files if path.suffix in ('.json', '.xml', '.txt', '.yaml')] or files
    if not files:
        return
    path = files[which % len(files)]
    content = path.read_bytes()
    if how == 'value' and path.suffix == '.json' and content.strip():
        path.write_text(_changed(content.decode(errors='replace'), place, odd))
    elif how in ('value', 'text'):
        words = content.decode(errors='replace').replace('<', ' <').replace('>', '> ').split(' ')
        words[place % len(words)] = text
        path.write_bytes(' '.join(words).replace(' <', '<').replace('> ', '>').encode())
    elif how == 'cut':
        path.write_bytes(content[: place % (len(content) + 1)])
    elif how == 'byte' and content:
        changed = bytearray(content)
        changed[place % len(content)] = byte
        path.write_bytes(changed)
    elif how == 'remove':
        path.unlink()
    elif how == 'rename':
        path.rename(path.with_name(f'{path.stem}{byte}{path.suffix.upper()}'))
    elif how == 'empty':
        path.write_bytes(b'')
    elif how == 'twin':
        path.with_name(f'x{path.name}').write_bytes(content)
    elif how == 'folder':
        path.unlink()
        path.mkdir()


def _changed(text, place, odd):
    """JSON with one value replaced or one entry left out."""
    try:
        content = json.loads(text)
    except ValueError:
        return text
    spots = []

    def walk(node):
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            spots.append((node, key))
            walk(value)

    walk(content)
    if not spots:
        return odd
    node, key = spots[place % len(spots)]
    if place % 7 == 0:
        del node[key]
    else:
        node[key] = json.loads(odd)
    return json.dumps(content)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    layout=st.sampled_from(LAYOUTS),
    damages=st.lists(_damage(), max_size=3),
    classes=st.sampled_from([None, None, 'ball; box; tree', 'ball', 'a; b; c; d']),
)
def holds(layout, damages, classes):
    """A sound data set with up to three damages."""
    MMLogger.get_current_instance().setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'mine'
        root.mkdir()
        layout(root)
        for damage in damages:
            _do(root, damage)
        before = contents(root)
        try:
            made = new_dataset(root, Path(folder) / 'mine.py', classes=classes)
        except SENTENCES as error:
            assert str(error).strip() and 'Traceback' not in str(error)
            assert not (Path(folder) / 'mine.py').exists(), error
        else:
            assert all(report.render().strip() for report in made.reports.values())
            if made.ok:
                _sound(made)
            if not damages and classes is None and layout not in (label_maps, flat_label_maps):
                assert made.ok
        assert contents(root) == before
        assert {path.name for path in Path(folder).iterdir()} <= {
            'mine',
            'mine.py',
            'mine_coco',
            'mine_maps',
            'mine_converted',
        }
        assert os.listdir(folder)


def _sound(made):
    """What is called fit for training scores 1 with its own truth and has the names of the files."""
    assert made.perfect, 'no perfect score'
    for score in made.perfect.values():
        assert score.ok
    config = Config.fromfile(made.config)
    names = tuple(config.train_dataloader.dataset.metainfo.classes)
    assert names and len(set(names)) == len(names)
