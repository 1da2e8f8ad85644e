"""A generated data set and a function that trains the toy model on it, for the engine's tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import Runner

CONFIG = Path(__file__).with_name('toy_fpn.py')


@pytest.fixture(scope='session')
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two validation pictures in CamVid's layout."""
    from denseclip.datasets.generated import write_dataset

    return write_dataset('camvid', tmp_path_factory.mktemp('toy') / 'CamVid', num_train=6, num_val=2, size=(48, 64))


@pytest.fixture(scope='session')
def data_options(toy_data: Path) -> dict[str, Any]:
    """Config overrides that point the toy config to the generated data."""
    return {f'{split}_dataloader.dataset.data_root': str(toy_data) for split in ('train', 'val', 'test')}


_numbers = itertools.count()


@pytest.fixture
def train_toy(data_options: dict[str, Any]) -> Callable[..., Runner]:
    """Train the toy model in this process: ``train_toy(work_dir, resume=None, **overrides)``."""
    from denseclip.engine.launch import TrainOptions, train

    def run(work_dir: Path, resume: str | None = None, **overrides: Any) -> Runner:
        # Runs of one second would share MMEngine's message hub by their experiment name.
        options = {**data_options, 'experiment_name': f'toy{next(_numbers)}', **overrides}
        return train(CONFIG, TrainOptions(work_dir=str(work_dir), resume=resume, overrides=options))

    return run
