"""Labels follow names: the truth scores 1.0 through whatever `denseclip new-dataset` makes of a layout."""

import contextlib
import io
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from coco_layouts import MASKS, Drawn, content, layouts, scores
from hypothesis import HealthCheck, given, settings
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, METRICS, init_default_scope

from denseclip.apis.new_dataset import new_dataset
from denseclip.datasets.perfect import score_perfect_model


def label_sets(config: Config, split: str) -> dict[str, set[tuple[str, tuple[float, ...]]]]:
    """What the data set of a config calls the objects of each picture."""
    dataset = DATASETS.build({**config[f'{split}_dataloader'].dataset, 'pipeline': [], 'serialize_data': False})
    classes = dataset.metainfo['classes']
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return {
        Path(info['img_path']).name: {(classes[o['bbox_label']], tuple(o['bbox'])) for o in info['instances']}
        for info in infos
    }


def check(drawn: Drawn, base: Path | None = None) -> None:
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        root = drawn.write(Path(folder) / 'mine')
        made = new_dataset(root, Path(folder) / 'mine.py', base=base)
        assert made.ok, '\n'.join(r.render() for r in (*made.reports.values(), *made.perfect.values()))
        config = Config.fromfile(made.config)
        init_default_scope('mmdet')
        kept = set(made.data.classes)
        for split in made.data.splits:
            for name, found in label_sets(config, split).items():
                assert found == {(label, box) for label, box in drawn.truth[name] if label in kept}
            if split != 'train':
                assert scores(config, split)['coco/bbox_mAP'] == 1.0
                assert made.perfect[split].scores['box AP'] == 1.0
                if base:
                    assert made.perfect[split].scores['mask AP'] == 1.0


slow_start = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=slow_start)
@given(layouts())
def test_every_layout_is_trained_and_scored_under_its_names(drawn: Drawn) -> None:
    check(drawn)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=slow_start)
@given(layouts())
def test_masks_of_every_layout(drawn: Drawn) -> None:
    check(drawn, MASKS)


def config_of(root: Path, kind: str, metric: str) -> Config:
    """A detector's config that somebody wrote by hand."""
    datasets = {
        split: {
            'type': kind,
            'ann_file': str(root / f'annotations/instances_{split}.json'),
            'data_prefix': {'img': str(root / 'images')},
            'metainfo': {'classes': ('a', 'b', 'c')},
            'pipeline': [],
            'test_mode': split == 'val',
        }
        for split in ('train', 'val')
    }
    entries = {f'{split}_dataloader': {'dataset': dataset} for split, dataset in datasets.items()}
    evaluator = {'type': metric, 'ann_file': datasets['val']['ann_file'], 'metric': 'bbox', 'classwise': True}
    return Config({'default_scope': 'mmdet', 'val_evaluator': evaluator, **entries})


def written(root: Path, **files: dict[str, Any]) -> Path:
    return Drawn({f'annotations/instances_{split}.json': c for split, c in files.items()}, {}).write(root)


def test_the_hosts_data_set_is_found_to_go_by_positions(tmp_path: Path) -> None:
    root = written(tmp_path / 'mine', train=content([2, 0, 1]), val=content([1, 2, 0]))
    config = config_of(root, 'CocoDataset', 'CocoMetric')
    train, val = (score_perfect_model(config, split) for split in ('train', 'val'))
    assert train and not train.ok and 'boxes of "a" get the label of "b"' in train.render()
    assert val and val.scores['box AP'] == 0.0 and "type='NamedCocoDataset'" in val.render()


def test_by_name_the_same_files_are_right_class_by_class(tmp_path: Path) -> None:
    # ids fall where names rise, so that a table by positions would show under wrong names
    root = written(tmp_path / 'mine', train=content([2, 0, 1]), val=content([1, 2, 0], ids=(9, 5, 2)))
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    init_default_scope('mmdet')
    found = scores(config, 'val')
    assert [found[f'coco/{name}_precision'] for name in 'abc'] == [1.0, 1.0, 1.0]
    path = root / 'annotations/instances_val.json'
    changed = json.loads(path.read_text())
    for entry in changed['annotations']:
        if entry['category_id'] == 9:  # "a": half of its boxes are elsewhere
            entry['bbox'] = [entry['bbox'][0] + 15 * entry['image_id'], *entry['bbox'][1:]]
    truth = DATASETS.build(config.val_dataloader.dataset)
    path.write_text(json.dumps(changed))
    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = truth.metainfo
    for index in range(len(truth)):
        info = truth.get_data_info(index)
        boxes = torch.tensor([o['bbox'] for o in info['instances']], dtype=torch.float32)
        labels = torch.tensor([o['bbox_label'] for o in info['instances']])
        result = {'bboxes': boxes, 'labels': labels, 'scores': torch.ones(len(boxes))}
        metric.process({}, [{'img_id': info['img_id'], 'ori_shape': (48, 64), 'pred_instances': result}])
    with contextlib.redirect_stdout(io.StringIO()):
        found = metric.evaluate(len(truth))
    assert found['coco/a_precision'] < 1.0
    assert found['coco/b_precision'] == found['coco/c_precision'] == 1.0


def test_result_files_have_the_ids_of_the_annotation_file(tmp_path: Path) -> None:
    root = written(tmp_path / 'mine', train=content([0, 1, 2]), val=content([1, 2, 0], ids=(9, 5, 2)))
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    config.val_evaluator.outfile_prefix = str(tmp_path / 'results')
    init_default_scope('mmdet')
    scores(config, 'val')
    results = json.loads((tmp_path / 'results.bbox.json').read_text())
    truth = {(a['image_id'], *a['bbox']): a['category_id'] for a in content([0], ids=(9, 5, 2))['annotations']}
    assert {(r['image_id'], *map(round, r['bbox'])): r['category_id'] for r in results} == truth


def test_an_evaluator_of_another_file_is_found(tmp_path: Path) -> None:
    other = content([0, 1, 2])
    for entry in other['annotations']:
        entry['bbox'][0] += 7
    root = written(tmp_path / 'mine', train=other, val=content([0, 1, 2]))
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    config.val_evaluator.ann_file = str(root / 'annotations/instances_train.json')
    score = score_perfect_model(config, 'val')
    assert score and score.scores['box AP'] < 1 and 'Have both the same ann_file' in score.render()


def test_more_boxes_than_ap_looks_at_are_no_fault(tmp_path: Path) -> None:
    many = content([0, 1, 2])
    first = many['annotations'][0]
    more = [{**first, 'id': 100 + k, 'bbox': [k % 40, k // 40, 5 + k % 9, 20], 'area': 100} for k in range(150)]
    many['annotations'] += more
    root = written(tmp_path / 'mine', train=content([0, 1, 2]), val=many)
    score = score_perfect_model(config_of(root, 'NamedCocoDataset', 'NamedCocoMetric'), 'val')
    assert score and score.ok and score.scores['box AP'] < 1
    assert 'looks at 100 boxes of a class in a picture; 1 pictures hold more' in score.render()


def test_large_sets_are_scored_in_part_with_every_class(tmp_path: Path) -> None:
    from denseclip.datasets.perfect_boxes import score_perfect_detector

    big = content([0, 1, 2])
    big['images'] = [{**big['images'][0], 'id': k, 'file_name': f'{k}.png'} for k in range(30)]
    for entry in big['annotations']:
        entry['image_id'] = 17 if entry['category_id'] == 2 else entry['image_id']  # b is in one picture
    root = written(tmp_path / 'mine', train=content([0, 1, 2]), val=big)
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    score = score_perfect_detector(config, 'val', max_pictures=4)
    assert score and score.ok and score.scores == {'box AP': 1.0}
    assert 'scored on 5 of 30 pictures' in score.render()


def test_two_categories_of_one_name_are_refused_where_both_have_objects(tmp_path: Path) -> None:
    double = content([0, 1, 2])
    double['categories'][1]['name'] = 'a'
    root = written(tmp_path / 'mine', train=double, val=content([0, 1, 2]))
    init_default_scope('mmdet')
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    with pytest.raises(ValueError, match='categories 1 and 2 are both called "a"'):
        len(DATASETS.build(config.train_dataloader.dataset))
    config.val_evaluator.ann_file = str(root / 'annotations/instances_train.json')
    with pytest.raises(ValueError, match='categories 1 and 2 are both called "a"'):
        scores(config, 'val')


def test_parts_of_the_classes_are_concatenated(tmp_path: Path) -> None:
    one, two = content([1, 0], names='abc'), content([0, 1], ids=(7, 4, 1), names='xyz')
    one['annotations'] = [a for a in one['annotations'] if a['category_id'] != 3]
    two['annotations'] = [a for a in two['annotations'] if a['category_id'] != 1]
    two['categories'] = [{'id': 4, 'name': 'c'}, {'id': 7, 'name': 'b'}]
    root = written(tmp_path / 'mine', train=one, val=two)
    config = config_of(root, 'NamedCocoDataset', 'NamedCocoMetric')
    parts = [{**config[f'{s}_dataloader'].dataset, 'test_mode': False} for s in ('train', 'val')]
    config.train_dataloader.dataset = {'type': 'ConcatDataset', 'datasets': parts}
    score = score_perfect_model(config, 'train')
    assert score and score.ok and 'labels follow names: 8 of 8 boxes' in score.render()
    both = DATASETS.build(config.train_dataloader.dataset)
    assert both.metainfo['classes'] == ('a', 'b', 'c')
    names = ['abc'[o['bbox_label']] for k in range(4) for o in both.get_data_info(k)['instances']]
    assert names == ['a', 'b', 'a', 'b', 'b', 'c', 'b', 'c']
