"""Experiment trackers: losses, scores and painted pictures of a training arrive where they should."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from denseclip.engine.config import OptionError
from denseclip.engine.hooks import TrackedPicturesHook
from denseclip.engine.launch import TrainOptions, train
from denseclip.engine.trackers import TRACKERS, use_trackers


def test_tensorboard_has_scalars_and_pictures(street_options, tmp_path):
    overrides = {**street_options, 'train_cfg.max_iters': 2, 'train_cfg.val_interval': 1, 'experiment_name': 'tracked'}
    overrides['default_hooks.logger.interval'] = 1
    train(
        Path(__file__).with_name('toy_fpn.py'),
        TrainOptions(work_dir=str(tmp_path / 'run'), overrides=overrides, trackers=('tensorboard',)),
    )
    [events] = (tmp_path / 'run').rglob('events.out.tfevents.*')
    found = EventAccumulator(str(events)).Reload()
    assert {'loss', 'lr', 'mIoU'} <= set(found.Tags()['scalars'])
    assert [entry.step for entry in found.Scalars('loss')] == [1, 2]
    tags = found.Tags()['images']
    assert len(tags) == 2 and all(tag.startswith('val/') for tag in tags)
    pictures = found.Images(tags[0])
    assert [entry.step for entry in pictures] == [1, 2]
    assert pictures[0].width >= 64 and pictures[0].encoded_image_string.startswith(b'\x89PNG')
    assert list((tmp_path / 'run').rglob('scalars.json'))  # the log of files goes on beside it


@pytest.mark.parametrize(('names', 'said'), [(['tensorbord'], "no 'tensorbord'"), (['mlflow'], 'pip install mlflow')])
def test_what_cannot_be_used_is_said_before_anything_is_built(names, said, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    config = Config({'visualizer': {'type': 'Visualizer'}})
    with pytest.raises(OptionError, match=said):
        use_trackers(config, names, tmp_path)
    assert config.to_dict() == {'visualizer': {'type': 'Visualizer'}}


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)


def test_backends_are_added_once(tmp_path, installed):
    config = Config({'visualizer': {'type': 'Visualizer', 'vis_backends': [{'type': 'TensorboardVisBackend'}]}})
    use_trackers(config, ['tensorboard,wandb', 'MLflow'], tmp_path / 'first run')
    kinds = [backend.type for backend in config.visualizer.vis_backends]
    assert kinds == ['TensorboardVisBackend', 'WandbVisBackend', 'MLflowVisBackend']
    wandb, mlflow = config.visualizer.vis_backends[1:]
    assert wandb.init_kwargs.name == mlflow.run_name == 'first run'
    assert mlflow.tracking_uri == f'sqlite:///{tmp_path / "mlflow.db"}'
    assert config.custom_hooks[0].trackers == ['tensorboard', 'wandb', 'mlflow']


def test_a_server_of_mlflow_is_taken(tmp_path, installed, monkeypatch):
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://127.0.0.1:5000')
    config = Config({})
    use_trackers(config, ['mlflow'], tmp_path)
    assert config.visualizer.vis_backends[0].tracking_uri == 'http://127.0.0.1:5000'
    assert 'artifact_location' not in config.visualizer.vis_backends[0]


def test_without_a_tracker_nothing_changes(tmp_path):
    config = Config({'visualizer': {'type': 'Visualizer'}})
    use_trackers(config, [], tmp_path)
    assert config.to_dict() == {'visualizer': {'type': 'Visualizer'}}


@pytest.mark.parametrize('name', ['wandb', 'mlflow'])
def test_pictures_of_later_validations_stand_beside_earlier_ones(name, tmp_path):
    said = []
    experiment = SimpleNamespace(
        Image=lambda image: image,
        log=lambda content: said.append(content),
        log_image=lambda image, tag: said.append(tag),
    )
    kind = type(TRACKERS[name].backend, (), {'experiment': experiment})
    Image.new('RGB', (60, 40)).save(tmp_path / 'a.png')
    sample = SegDataSample(metainfo={'img_path': str(tmp_path / 'a.png')})
    sample.pred_sem_seg = PixelData(data=torch.zeros(1, 40, 60, dtype=torch.long))
    dataset = SimpleNamespace(metainfo={'classes': ('road', 'sky')})
    runner = SimpleNamespace(
        val_dataloader=SimpleNamespace(dataset=dataset),
        model=nn.Identity(),
        visualizer=SimpleNamespace(_vis_backends={'local': object(), 'theirs': kind()}),
    )
    hook = TrackedPicturesHook([name], count=1)
    for runner.iter in (5, 10):
        hook.before_val_epoch(runner)
        hook.after_val_iter(runner, 0, None, [sample, sample])
    if name == 'mlflow':
        assert said == ['val/0_a/00000005.png', 'val/0_a/00000010.png']
    else:
        assert [content['iter'] for content in said] == [5, 10]
        assert all(np.asarray(content['val/0_a']).shape[1] >= 60 for content in said)
