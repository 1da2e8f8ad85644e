"""What ``tools/test.py --out`` writes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import METRICS
from mmseg.evaluation import IoUMetric
from PIL import Image

from denseclip.engine import predictions
from denseclip.engine.config import OptionError
from denseclip.engine.predictions import keep_predictions, name_results, staging, whole_files
from denseclip.evaluation import AnomalyMetric, PanopticQualityMetric, SemanticMetric
from denseclip.evaluation.iou_files import IoUMetricWithFiles
from denseclip.evaluation.label_files import write_label_map

PATHS = ('left/car.png', 'right/car.png', 'right/van.png')


def config(evaluator: dict, **dataset: Any) -> Config:
    dataset = dict(type='CamVidDataset', data_root='d', pipeline=[dict(type='LoadAnnotations')], **dataset)
    return Config(dict(default_scope='mmseg', test_evaluator=evaluator, test_dataloader=dict(dataset=dataset)))


def sample(path: str, classes: int, labels: bool = True, **more: Any) -> dict[str, Any]:
    guess = torch.randint(classes, (1, 6, 5), generator=torch.Generator().manual_seed(hash(path) % 1000))
    return dict(
        img_path=path,
        pred_sem_seg=dict(data=guess),
        **(dict(gt_sem_seg=dict(data=(guess + 1) % classes)) if labels else {}),
        **more,
    )


class Pictures:
    """A data set that knows its paths alone."""

    def __init__(self, infos: list[dict]) -> None:
        self.infos = infos

    def __len__(self) -> int:
        return len(self.infos)

    def get_data_info(self, index: int) -> dict:
        return self.infos[index]


def runner(metric: BaseMetric, infos: list[dict]) -> Any:
    loop = SimpleNamespace(evaluator=Evaluator(metric), dataloader=SimpleNamespace(dataset=Pictures(infos)))
    return SimpleNamespace(test_loop=loop)


def metric_of(kind: type, folder: Path, classes: int = 3) -> BaseMetric:
    metric = kind(output_dir=str(folder), keep_results=True)
    metric.dataset_meta = dict(classes=[f'c{k}' for k in range(classes)])
    return metric


@pytest.mark.parametrize('kind', [IoUMetricWithFiles, SemanticMetric])
@pytest.mark.parametrize('classes', [3, 300])
def test_pictures_of_one_name_get_files_of_their_own(kind: type, classes: int, tmp_path: Path) -> None:
    metric = metric_of(kind, tmp_path, classes)
    name_results(runner(metric, [dict(img_path=path) for path in PATHS]))
    samples = [sample(path, classes) for path in PATHS]
    metric.process(None, samples)
    assert len(metric.results) == 3  # waits for the files
    assert sorted(p.name for p in tmp_path.iterdir()) == ['left_car.png', 'right_car.png', 'van.png']
    for one, name in zip(samples, ('left_car', 'right_car', 'van'), strict=True):
        with Image.open(tmp_path / f'{name}.png') as image:
            assert np.array_equal(np.asarray(image), one['pred_sem_seg']['data'][0].numpy())


def test_scores_and_ids_are_those_of_mmseg(tmp_path: Path) -> None:
    ours, theirs = metric_of(IoUMetricWithFiles, tmp_path / 'ours'), metric_of(IoUMetric, tmp_path / 'theirs')
    samples = [sample(path, 3, reduce_zero_label=True) for path in PATHS[1:]]
    scores = []
    for metric in (ours, theirs):
        metric.process(None, samples)
        scores.append(metric.compute_metrics(metric.results))
    assert scores[0] == scores[1]
    for name in ('car.png', 'van.png'):
        a, b = (np.asarray(Image.open(tmp_path / folder / name)) for folder in ('ours', 'theirs'))
        assert np.array_equal(a, b)


@pytest.mark.parametrize('kind', [IoUMetricWithFiles, SemanticMetric])
def test_pictures_without_labels_are_written_and_not_scored(kind: type, tmp_path: Path) -> None:
    mixed = metric_of(kind, tmp_path)
    mixed.process(None, [sample(PATHS[1], 3), sample(PATHS[2], 3, labels=False)])
    alone = metric_of(kind, tmp_path)
    alone.process(None, [sample(PATHS[1], 3)])
    assert len(mixed.results) == 2  # processes must have equally many
    assert mixed.compute_metrics(mixed.results) == alone.compute_metrics(alone.results)
    none = metric_of(kind, tmp_path)
    none.process(None, [sample(path, 3, labels=False) for path in PATHS[1:]])
    assert none.compute_metrics(none.results) == {}
    assert {p.name for p in tmp_path.iterdir()} == {'car.png', 'van.png'}


def test_files_alone_have_no_scores(tmp_path: Path) -> None:
    metric = IoUMetricWithFiles(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    metric.process(None, [sample(PATHS[1], 3)])
    assert metric.evaluate(1) == {}
    assert [p.name for p in tmp_path.iterdir()] == ['car.png']


def test_a_missing_truth_is_still_an_error_without_out() -> None:
    metric = SemanticMetric()
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    with pytest.raises(KeyError):
        metric.process(None, [sample('a.png', 3, labels=False)])


def test_anomaly_maps_are_named_apart_within_their_folder(tmp_path: Path) -> None:
    metric = AnomalyMetric(output_dir=str(tmp_path), pixels='none')
    infos = [
        dict(img_path=f'{folder}/{side}/0.png', category='nut', defect_type=folder)
        for folder, side in (('good', 'a'), ('crack', 'a'), ('crack', 'b'))
    ]
    name_results(runner(metric, infos))
    for info in infos:
        data = torch.zeros(1, 4, 4)
        metric.process(
            None, [dict(**info, gt_label=int(info['defect_type'] != 'good'), pred_score=0.5, anomaly_map=data)]
        )
    assert len(metric.results) == 3  # waits for the files
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*.tiff'))
    assert written == ['nut/test/crack/a_0.tiff', 'nut/test/crack/b_0.tiff', 'nut/test/good/0.tiff']


def test_panoptic_files_take_the_names_too(tmp_path: Path) -> None:
    metric = PanopticQualityMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=['a'], thing_classes=[])
    name_results(runner(metric, [dict(img_path=path) for path in PATHS]))
    found = dict(data=torch.zeros(1, 2, 2, dtype=torch.long), segments_info=[])
    for path in PATHS:
        metric.writing(dict(img_path=path, img_id=1, pred_panoptic_seg=found))()
    assert sorted(p.name for p in (tmp_path / 'panoptic').iterdir()) == ['left_car.png', 'right_car.png', 'van.png']


def test_an_interrupted_picture_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / 'a.png'
    write_label_map(np.zeros((2, 2), int), 3, target)
    before = target.read_bytes()

    def full(self: Image.Image, file: Any, **_: Any) -> None:
        Path(file).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', full)
    with pytest.raises(OSError, match='No space'):
        write_label_map(np.ones((2, 2), int), 3, target)
    assert target.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['a.png']


def test_each_metric_is_asked_in_its_own_way(tmp_path: Path) -> None:
    for kind, expected in (
        ('IoUMetric', dict(type='IoUMetricWithFiles', output_dir=str(tmp_path), keep_results=True)),
        ('SemanticMetric', dict(type='SemanticMetric', output_dir=str(tmp_path), keep_results=True)),
        ('mmdet.CocoMetric', dict(type='mmdet.CocoMetric', outfile_prefix=str(staging(tmp_path) / 'results'))),
    ):
        made = config(dict(type=kind))
        keep_predictions(made, tmp_path)
        assert made.test_evaluator == expected
        assert METRICS.build(dict(made.test_evaluator)) is not None
    with pytest.raises(OptionError, match='VOCMetric, the metric of this config, writes no files'):
        keep_predictions(config(dict(type='mmdet.VOCMetric')), tmp_path)


def test_labels_become_optional_in_sets_of_label_maps_alone(tmp_path: Path) -> None:
    made = config(dict(type='IoUMetric'))
    made.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='TestTimeAug', transforms=[[dict(type='Flip')], [dict(type='LoadAnnotations', imdecode_backend='cv2')]]
        ),
    ]
    keep_predictions(made, tmp_path)
    steps = made.test_dataloader.dataset.pipeline
    inner = dict(type='LoadAnnotations', imdecode_backend='cv2')
    assert steps[0] == dict(type='LoadImageFromFile')
    assert steps[1].transforms == [[dict(type='Flip')], [dict(type='LabelsIfAny', step=inner)]]
    boxes = config(dict(type='mmdet.CocoMetric'))
    boxes.test_dataloader.dataset.type = 'BCCDDataset'
    keep_predictions(boxes, tmp_path)
    assert boxes.test_dataloader.dataset.pipeline == [dict(type='LoadAnnotations')]


def test_files_of_other_packages_appear_when_they_are_whole(tmp_path: Path) -> None:
    def write() -> None:
        staging(tmp_path).mkdir()
        (staging(tmp_path) / 'results.bbox.json').write_text('[]')

    with pytest.raises(KeyboardInterrupt), whole_files(tmp_path):
        write()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with whole_files(tmp_path):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ['results.bbox.json']
    with whole_files(None):
        assert predictions.staging(tmp_path) == staging(tmp_path)


@pytest.mark.parametrize('kind', [IoUMetricWithFiles, SemanticMetric])
@pytest.mark.parametrize('reduced', [False, True])
def test_files_hold_the_ids_of_the_data_set_whatever_the_metric(kind: type, reduced: bool, tmp_path: Path) -> None:
    metric = metric_of(kind, tmp_path)
    one = sample('a.png', 3, reduce_zero_label=reduced)
    one['pred_sem_seg']['data'][0, 0, 0] = 3  # a background without words
    metric.process(None, [one])
    assert len(metric.results) == 1  # waits for the file
    written = np.asarray(Image.open(tmp_path / 'a.png'))
    assert np.array_equal(written, one['pred_sem_seg']['data'][0].numpy() + int(reduced))


def test_one_metric_of_several_writes(tmp_path: Path) -> None:
    both = config([dict(type='IoUMetric'), dict(type='BoundaryIoUMetric')])
    keep_predictions(both, tmp_path)
    assert both.test_evaluator[0].output_dir == str(tmp_path) and 'output_dir' not in both.test_evaluator[1]
    with pytest.raises(OptionError, match='BoundaryIoUMetric, .*writes no files'):
        keep_predictions(config([dict(type='BoundaryIoUMetric')]), tmp_path)
