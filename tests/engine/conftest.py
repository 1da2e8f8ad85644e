"""A network and a data set that need milliseconds per iteration, and functions that train them.

They have every kind of randomness that training can have: pictures augmented with Python, NumPy and torch draws, and
dropout in the network. ``toy_fpn.py`` is the MMSegmentation model for the slower tests.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn

SEGMENTOR = Path(__file__).with_name('toy_fpn.py')


@DATASETS.register_module()
class ToyPictures:
    """Twelve 3 x 8 x 8 pictures of two classes."""

    metainfo = {'classes': ('dark', 'bright')}

    def __len__(self) -> int:
        """Number of pictures."""
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Draw one picture."""
        label = index % 2
        pixels = np.random.rand(3, 8, 8).astype(np.float32) + label  # noqa: NPY002
        if random.random() < 0.5:
            pixels = pixels[:, :, ::-1].copy()
        sample = BaseDataElement(metainfo={'img_path': f'picture_{index}.png', 'label': label})
        return {'inputs': torch.from_numpy(pixels) + 0.1 * torch.randn(3, 8, 8), 'data_samples': sample}


@MODELS.register_module()
class ToyNet(BaseModel):
    """Convolution, batch norm, dropout, linear; ``text_encoder`` is named as the paper's recipe expects."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten())
        self.head = nn.Linear(144, 2)
        self.text_encoder = nn.Linear(2, 2)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Loss or hits."""
        logits = self.text_encoder(self.head(self.layers(torch.stack(list(inputs)))))
        labels = torch.tensor([sample.label for sample in data_samples])
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(logits, labels)}
        return [{'hit': bool(hit)} for hit in logits.argmax(1) == labels]


@METRICS.register_module()
class ToyScore(BaseMetric):
    """Share of right answers, after draws that must not reach the training."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Collect hits."""
        _ = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        self.results.extend(sample['hit'] for sample in data_samples)

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        """Percent."""
        return {'acc': 100 * sum(results) / len(results)}


_LOADER: dict[str, Any] = {'batch_size': 4, 'num_workers': 0, 'dataset': {'type': 'ToyPictures'}}
TOY: dict[str, Any] = {
    'default_scope': 'mmengine',
    'log_level': 'WARNING',
    'log_processor': {'by_epoch': False},
    'randomness': {'seed': 3},
    'model': {'type': 'ToyNet'},
    'train_dataloader': {**_LOADER, 'sampler': {'type': 'InfiniteSampler', 'shuffle': True}},
    'val_dataloader': {**_LOADER, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
    'test_dataloader': {**_LOADER, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
    'val_evaluator': {'type': 'ToyScore'},
    'test_evaluator': {'type': 'ToyScore'},
    'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 10, 'val_interval': 5},
    'val_cfg': {'type': 'ValLoop'},
    'test_cfg': {'type': 'TestLoop'},
    'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.01}},
    'param_scheduler': [
        {'type': 'LinearLR', 'start_factor': 0.01, 'by_epoch': False, 'begin': 0, 'end': 4},
        {'type': 'PolyLR', 'power': 0.9, 'eta_min': 1e-6, 'by_epoch': False, 'begin': 0, 'end': 10},
    ],
    'auto_scale_lr': {'enable': False, 'base_batch_size': 4},
    'default_hooks': {
        'logger': {'type': 'LoggerHook', 'interval': 2, 'log_metric_by_epoch': False},
        'checkpoint': {
            'type': 'CheckpointHook',
            'by_epoch': False,
            'interval': 5,
            'save_best': 'acc',
            'rule': 'greater',
            'max_keep_ckpts': 2,
        },
    },
}


@pytest.fixture(scope='session')
def toy_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Config file of the toy network."""
    path = tmp_path_factory.mktemp('config') / 'toy.json'
    path.write_text(json.dumps(TOY))
    return path


_numbers = itertools.count()
Train = Callable[..., Runner]


def _trainer(config: Path, fixed: dict[str, Any]) -> Train:
    from denseclip.engine.launch import TrainOptions, train

    def run(work_dir: Path, resume: str | None = None, **overrides: Any) -> Runner:
        # Runs of one second would share MMEngine's message hub by their experiment name. MMEngine's merge takes
        # `_delete_` out of the dictionaries that it is given: hence the copy.
        options = {**fixed, 'experiment_name': f'toy{next(_numbers)}', **copy.deepcopy(overrides)}
        return train(config, TrainOptions(work_dir=str(work_dir), resume=resume, overrides=options))

    return run


@pytest.fixture
def train_toy(toy_config: Path) -> Train:
    """Train the toy network in this process: ``train_toy(work_dir, resume=None, **overrides)``."""
    return _trainer(toy_config, {})


@pytest.fixture(scope='session')
def street_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides that point the toy segmentor to six training and two validation pictures in CamVid's layout."""
    from generated import write_dataset

    root = tmp_path_factory.mktemp('toy') / 'CamVid'
    write_dataset('camvid', root, num_train=6, num_val=2, size=(48, 64))
    return {f'{split}_dataloader.dataset.data_root': str(root) for split in ('train', 'val', 'test')}


@pytest.fixture
def train_segmentor(street_options: dict[str, Any]) -> Train:
    """Train the toy segmentor in this process, as ``train_toy``."""
    return _trainer(SEGMENTOR, street_options)
