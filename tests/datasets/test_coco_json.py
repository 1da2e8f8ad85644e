"""What is no value of its key in COCO's format is named, with the cure, by whoever reads the file."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from coco_layouts import Drawn, content
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from denseclip.cli.main import main
from denseclip.datasets.audit import audit_split
from denseclip.datasets.coco_json import CocoFileError, read_coco, shape_faults

ODD: dict[str, Any] = {
    'text': 'tall',
    'NaN': math.nan,
    'infinity': math.inf,
    'true': True,
    'list': [1],
    'object': {'a': 1},
    'too large': 10**30,
}
NUMBERS = [
    ('images', 'height'),
    ('images', 'width'),
    ('annotations', 'area'),
    ('annotations', 'category_id'),
    ('categories', 'id'),
]


def write(root: Path, part: str, key: str, value: Any, place: int = 1) -> Path:
    """A data set in which one value of the training file is another."""
    files = {f'annotations/instances_{split}.json': content([0, 1, 2]) for split in ('train', 'val')}
    Drawn(files, {}).write(root)
    path = root / 'annotations/instances_train.json'
    whole = json.loads(path.read_text())
    whole[part][place][key] = value
    path.write_text(json.dumps(whole))
    return root


@pytest.mark.parametrize('odd', ODD)
@pytest.mark.parametrize(('part', 'key'), NUMBERS)
def test_what_is_no_number_is_refused_with_entry_key_and_cure(tmp_path: Path, part: str, key: str, odd: str) -> None:
    path = write(tmp_path / 'mine', part, key, ODD[odd]) / 'annotations/instances_train.json'
    with pytest.raises(CocoFileError) as caught:
        read_coco(path)
    said = str(caught.value)
    assert said.startswith(f'{path}: {part}[1]') and f'has the "{key}"' in said and '; ' in said and '\n' not in said


@pytest.mark.parametrize(
    ('part', 'key', 'value'),
    [
        ('images', 'height', None),
        ('images', 'id', None),
        ('images', 'id', math.nan),
        ('images', 'id', 'p1'),  # beside numbers
        ('images', 'file_name', 7),
        ('images', 'file_name', ''),
        ('annotations', 'image_id', [0]),
        ('annotations', 'id', False),
        ('annotations', 'category_id', 'a'),
        ('annotations', 'bbox', 'here'),
        ('annotations', 'bbox', [1, 2, 3]),
        ('annotations', 'bbox', [1, 2, None, 4]),
        ('annotations', 'bbox', [1, 2, '3', 4]),
        ('annotations', 'bbox', [1, 2, True, 4]),
        ('annotations', 'bbox', [1, math.inf, 3, 4]),
        ('annotations', 'iscrowd', 'no'),
        ('categories', 'name', 5),
        ('categories', 'name', None),
        ('categories', 'name', '  '),
    ],
)
def test_other_values_that_their_keys_do_not_hold(tmp_path: Path, part: str, key: str, value: Any) -> None:
    path = write(tmp_path / 'mine', part, key, value) / 'annotations/instances_train.json'
    with pytest.raises(CocoFileError, match=rf'{part}\[1\].* has the "{key}" '):
        read_coco(path)


def test_the_command_refuses_them_in_one_line_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write(tmp_path / 'mine', 'images', 'height', 'tall')
    other = root / 'annotations/instances_val.json'
    whole = json.loads(other.read_text())
    whole['categories'][0]['name'] = 3
    for entry in whole['annotations'][:4]:
        entry['bbox'] = 'box'
    other.write_text(json.dumps(whole))
    assert main(['new-dataset', str(root), '--out', str(tmp_path / 'mine.py')]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and sorted(p.name for p in tmp_path.iterdir()) == ['mine']
    for words in (
        'images[1] (id 1) has the "height" \'tall\'',
        'plain number',
        'categories[0] (id 1) has the "name" 3',
    ):
        assert words in said
    assert 'annotations[0] (id 1) has the "bbox" \'box\' (and 3 more entries alike)' in said


def dataset(root: Path, kind: str) -> dict[str, Any]:
    return dict(
        type=kind,
        ann_file=str(root / 'annotations/instances_train.json'),
        data_prefix=dict(img=str(root / 'images')),
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[],
    )


def test_the_data_set_refuses_them(tmp_path: Path) -> None:
    init_default_scope('mmdet')
    root = write(tmp_path / 'mine', 'annotations', 'bbox', ['1', '2', '3', '4'])
    with pytest.raises(CocoFileError, match=r'annotations\[1\] \(id 2\) has the "bbox"'):
        DATASETS.build(dataset(root, 'NamedCocoDataset'))


@pytest.mark.parametrize('kind', ['CocoDataset', 'NamedCocoDataset'])
def test_the_audit_lists_all_of_them_beside_all_else(tmp_path: Path, kind: str) -> None:
    root = write(tmp_path / 'mine', 'images', 'height', 'tall')
    path = root / 'annotations/instances_train.json'
    whole = json.loads(path.read_text())
    whole['annotations'][0]['area'] = 'large'
    whole['annotations'][1]['bbox'] = None
    whole['annotations'][3]['image_id'] = [1]
    whole['annotations'][4]['category_id'] = 77
    whole['categories'][2]['name'] = None
    path.write_text(json.dumps(whole))
    (root / 'images/abc0.png').write_bytes(b'no picture')
    config = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset(root, kind))))
    ((_, report),) = audit_split(config, 'train')
    text = report.render()
    for words in (
        f'{path}: images[1] (id 1) has the "height" \'tall\'',
        f'{path}: annotations[0] (id 1) has the "area" \'large\'',
        f'{path}: annotation 2 (b in abc0.png): its box None is not four numbers',
        f'{path}: annotations[3] (id 4) has the "image_id" [1]',
        'annotation 5: there is no category with the id 77',
        f'{path}: categories[2] (id 3) has the "name" None',
        'abc0.png: cannot be read',
    ):
        assert words in text, text
    assert not report.ok


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(part=st.sampled_from(('images', 'annotations', 'categories')), data=st.data())
def test_any_value_at_any_key_is_right_or_named(part: str, data: st.DataObject) -> None:
    whole = content([0, 1, 2])
    key = data.draw(st.sampled_from(sorted(whole[part][0])))
    whole[part][0][key] = value = data.draw(json_values)
    found = list(shape_faults(whole))
    assert all(fault.part == part and f'"{key}"' in fault.said for fault in found if fault.place == 0)
    if isinstance(value, dict | bool) and key not in ('iscrowd',):
        assert found
    assert not list(shape_faults(content([0, 1, 2])))
