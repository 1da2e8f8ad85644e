"""The benchmark takes detectors, anomaly models and vocabularies too, and pictures as the config resizes them."""

from pathlib import Path
from pprint import pformat

import pytest
import torch
from mmengine.config import Config
from tiny_anomaly import PROMPTS, TEXT, VISION
from tiny_detectors import detector_config
from tiny_open_vocab import ARCH

from denseclip.engine.benchmark import ModelOptions, VocabularyOptions, benchmark_model, benchmark_vocabulary
from denseclip.engine.benchmark.report import Report
from denseclip.engine.benchmark.tasks import input_size
from denseclip.engine.benchmark.variants import variant
from denseclip.engine.benchmark.workload import Workload
from denseclip.engine.config import OptionError

QUICK = dict(repeats=1, warmup=0, memory=False)


def write(path: Path, **config) -> str:
    path.write_text('\n'.join(f'{key} = {pformat(value)}' for key, value in config.items()))
    return str(path)


def anomaly_config(folder: Path, kind: str, **settings) -> str:
    clip = dict(
        config=dict(embed_dim=8, vision_cfg=VISION, text_cfg={**TEXT, 'vocab_size': 49408, 'context_length': 77})
    )
    model = dict(type=kind, clip=clip, prompts=PROMPTS, **settings)
    return write(folder / f'{kind}.py', default_scope='mmseg', model=model)


def rows(report: Report, title: str) -> dict[str, list]:
    table = next(table for table in report.tables if table.title.startswith(title))
    return {row[0]: row[1:] for row in table.rows}


@pytest.mark.parametrize('kind', ['retinanet', 'mask-rcnn'])
def test_detectors(kind, tmp_path):
    data = dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[64.0] * 3, pad_size_divisor=32)
    model = {**detector_config(kind), 'data_preprocessor': data}
    optimizer = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    config = write(tmp_path / f'{kind}.py', default_scope='mmdet', model=model, optim_wrapper=optimizer)
    report = benchmark_model(ModelOptions(config, shape=(64, 96)), against_plain=True, **QUICK)
    assert report.equal and 'K=4' in report.title
    assert {'bboxes', 'scores', 'labels', 'text embeddings'} <= set(rows(report, 'Plain against ours'))
    assert {'text', 'tower', 'neck and head', 'total'} <= set(rows(report, 'Time'))
    step = benchmark_model(ModelOptions(config, shape=(64, 96), train=True), against_plain=True, **QUICK)
    assert step.equal and 'training step' in step.title


@pytest.mark.parametrize('again', [False, True])
def test_a_training_step_of_masks(again):
    config = 'miniworld/fcclip_vit-xs8_miniworld-96x96'
    report = benchmark_model(ModelOptions(config, shape=(64, 64), train=True, grad_checkpointing=again), **QUICK)
    assert 'training step' in report.title and ('activations computed again' in report.machine) == again


def test_results_are_those_of_the_configs_task():
    work = Workload(ModelOptions('miniworld/fcclip_vit-xs8_miniworld-96x96', shape=(64, 64)))
    (name, found), *others = work.results().items()
    assert name == 'panoptic map' and not others and found.dtype == torch.long and found.shape[:2] == (1, 1)


def test_anovl_against_the_authors_order(tmp_path):
    config = anomaly_config(tmp_path, 'AnoVL')
    report = benchmark_model(ModelOptions(config, shape=(32, 32)), against_plain=True, **QUICK)
    assert report.equal
    assert rows(report, 'Plain against ours')['score'][:2] == [0, 1]
    assert 'Plain: the picture once for the map and all 22 views' in report.markdown()
    assert {'text', 'tower', 'views', 'post-processing'} <= set(rows(report, 'Time'))
    operations = rows(report, 'Operations')
    ours, plain = operations['image, GFLOP']
    assert plain > 1.1 * ours  # 23 passes with both attentions, against one and 21 ordinary ones
    assert operations['text when encoded, GFLOP'][0] == operations['text when encoded, GFLOP'][1] > 0


def test_other_anomaly_models_have_no_plain_version(tmp_path):
    config = anomaly_config(tmp_path, 'WinCLIP')
    with pytest.raises(OptionError, match='no views'):
        benchmark_model(ModelOptions(config, shape=(32, 32)), against_plain=True, **QUICK)
    report = benchmark_model(ModelOptions(config, shape=(32, 32)), **QUICK)
    assert rows(report, 'Time')['pictures per second'][0] > 0
    with pytest.raises(NotImplementedError, match='not trained'):
        Workload(ModelOptions(config, shape=(32, 32), train=False)).losses()


def test_the_picture_is_resized_as_the_config_does():
    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmseg.Resize', scale=(2048, 448), keep_ratio=True)]
    dataset = dict(type='RepeatDataset', dataset=dict(pipeline=pipeline))
    size = input_size(Config(dict(test_dataloader=dict(dataset=dataset))), (480, 640))
    assert (size.input, size.original) == ((448, 597), (480, 640))
    assert size.meta['scale_factor'] == (597 / 640, 448 / 480)
    assert input_size(Config(dict(model={})), (30, 40)).input == (30, 40)


def test_results_have_the_picture_files_size(tmp_path):
    model = dict(
        type='OpenVocabularySegmentor', clip=dict(model='ViT-B-16', arch=ARCH, preset='sclip'), vocabulary='a; b; c; d'
    )
    pipeline = [dict(type='Resize', scale=(2048, 48), keep_ratio=True)]
    data = dict(dataset=dict(type='CityscapesDataset', pipeline=pipeline))
    config = write(tmp_path / 'sclip.py', default_scope='mmseg', model=model, test_dataloader=data)
    work = Workload(ModelOptions(config, picture=(90, 120)))
    assert work.size.input == (48, 64)
    ours = work.results()['label map']
    assert ours.shape[-2:] == (90, 120) and ours.unique().numel() > 1
    with variant(work.model, 'plain'):
        assert torch.equal(work.results()['label map'], ours)


def test_vocabularies(tmp_path):
    model = dict(
        type='OpenVocabularySegmentor', clip=dict(model='ViT-B-16', arch=ARCH, preset='maskclip'), templates='plain'
    )
    config = write(tmp_path / 'maskclip.py', default_scope='mmseg', model=model)
    report = benchmark_vocabulary(VocabularyOptions(config, vocabulary='a; b; c; d; e', start=2, unknown=1))
    cases = rows(report, 'Until')
    assert len(cases) == 6 and all(value > 0 for row in cases.values() for value in row)
    assert '2 -> 5 names, all but 1 met before' in cases
    with pytest.raises(OptionError, match='between 0 and the 5 names'):
        benchmark_vocabulary(VocabularyOptions(config, vocabulary='a; b; c; d; e', start=7))
