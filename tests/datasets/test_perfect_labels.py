"""A perfect segmentor gets full marks exactly where labels, names, pipeline and evaluator fit together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import layout_of, write_dataset
from mmengine.config import Config
from own_label_maps import Layout, write
from PIL import Image

import denseclip  # noqa: F401
from denseclip.datasets.perfect import PerfectScore, score_perfect_model

LOADS = dict(type='LoadAnnotations')
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(16, 12), keep_ratio=True),
    LOADS,
    dict(type='PackSegInputs'),
]
NAMES = ('sky', 'road', 'tree')


def score(
    root: Path, split: str = 'val', steps: list[dict[str, Any]] = STEPS, truth: Any = None, **evaluator: Any
) -> PerfectScore | None:
    part = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'masks/{split}'),
        img_suffix='.png',
        metainfo=dict(classes=NAMES),
        pipeline=steps,
    )
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'], **evaluator)
    return score_perfect_model(
        Config({f'{split}_dataloader': dict(dataset=part), 'val_evaluator': metric}), split, truth=truth
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, Layout())
    return tmp_path


def test_full_marks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = score(root)
    assert found is not None and found.ok and found.scores == {'mIoU': 1.0}
    assert found.render().splitlines() == [
        'perfect segmentor: mIoU 1.000',
        'labels follow names: 144 of 144 pixels of 3 of 3 pictures',
    ]
    trained = score(root, 'train')
    assert trained is not None and trained.ok and trained.scores == {'mIoU': 1.0}
    assert capsys.readouterr().out == ''


def test_names_that_labels_do_not_follow(root: Path) -> None:
    def truth(path: str) -> np.ndarray:
        labels = np.asarray(Image.open(path.replace('images', 'masks'))).astype(np.int64)
        return np.array([1, 0, 2, -1])[np.minimum(labels, 3)]

    for split in ('train', 'val'):
        found = score(root, split, truth=truth)
        assert found is not None and not found.ok
        assert any('pixels of sky are trained as road' in line for line in found.problems)
        assert any('pixels of road are trained as sky' in line for line in found.problems)
    assert found.scores['mIoU'] < 0.5


def test_labels_that_are_resized_with_the_picture(root: Path) -> None:
    found = score(root, steps=[STEPS[0], LOADS, STEPS[1], STEPS[3]])
    assert found is not None and not found.scores
    assert 'LoadAnnotations must stand behind Resize' in found.problems[0]


def test_an_evaluator_that_ignores_another_id(root: Path) -> None:
    found = score(root, ignore_index=254)
    assert found is not None and found.scores['mIoU'] < 1 and 'ignore_index' in found.problems[0]


def test_a_pipeline_that_stops(root: Path) -> None:
    found = score(root, steps=[*STEPS[:3], dict(type='CheckLabelRange', num_classes=2), STEPS[3]])
    assert found is not None and not found.scores and 'the pipeline stops' in found.problems[0]


def test_a_class_that_only_one_of_many_pictures_holds(tmp_path: Path) -> None:
    write(tmp_path, Layout(count=200, ids=(0, 1)))
    rare = tmp_path / 'masks/val/v 123.x.png'
    Image.fromarray(np.full((6, 8), 2, np.uint8)).save(rare)
    seen: list[str] = []

    def truth(path: str) -> np.ndarray:
        labels = np.asarray(Image.open(path.replace('images', 'masks'))).astype(np.int64)
        seen.append(path)
        return np.where(labels == 255, -1, labels)

    found = score(tmp_path, truth=truth)
    assert found is not None and found.ok and any('v 123' in path for path in seen)
    assert '65 of 200 pictures' in found.notes[0] or '64 of 200 pictures' in found.notes[0]


def test_pipelines_without_labels_and_other_data_have_no_such_score(root: Path) -> None:
    assert score(root, steps=[STEPS[0], STEPS[3]]) is None


@pytest.mark.parametrize(
    ('kind', 'ignored'),
    [
        ('CamVidDataset', 255),
        ('ADE20KDataset', 255),
        ('PascalVOC20Dataset', 255),
        ('CityscapesDataset', 255),
        ('ADE20KFullDataset', 65535),
    ],
)
def test_data_sets_of_the_suite(tmp_path: Path, kind: str, ignored: int) -> None:
    layout = layout_of(kind)
    root = write_dataset(layout.name, tmp_path / 'own', num_train=2, num_val=2, size=(24, 32))
    places = {
        'CamVidDataset': dict(data_prefix=dict(img_path='val', seg_map_path='valannot')),
        'ADE20KDataset': dict(
            data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
            reduce_zero_label=True,
        ),
        'PascalVOC20Dataset': dict(
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
            ann_file='ImageSets/Segmentation/val.txt',
        ),
        'CityscapesDataset': dict(data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val')),
        'ADE20KFullDataset': dict(
            data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation')
        ),
    }
    loads = dict(type='LoadWideAnnotations' if ignored > 255 else 'LoadAnnotations')
    part = dict(type=kind, data_root=str(root), pipeline=[STEPS[0], loads, STEPS[3]], **places[kind])
    metric = dict(type='SemanticMetric') if ignored > 255 else dict(type='IoUMetric')
    found = score_perfect_model(Config(dict(val_dataloader=dict(dataset=part), val_evaluator=metric)), 'val')
    assert found is not None and found.ok and found.scores['mIoU'] == 1.0
