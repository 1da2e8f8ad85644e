"""Experiment trackers of a training: MMEngine's backends, with the pictures of each validation."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from .config import OptionError


def _with_step(backend: Any, tag: str, image: np.ndarray, step: int) -> None:
    backend.add_image(tag, image, step)


def _wandb_image(backend: Any, tag: str, image: np.ndarray, step: int) -> None:
    """MMEngine's backend says no step, and W&B would take the number of calls for one."""
    wandb = backend.experiment
    wandb.log({tag: wandb.Image(image), 'iter': step})


def _mlflow_image(backend: Any, tag: str, image: np.ndarray, step: int) -> None:
    """MMEngine's backend says no step: pictures of later validations would replace those of earlier ones."""
    backend.experiment.log_image(image, f'{tag}/{step:08d}.png')


@dataclass(frozen=True)
class Tracker:
    """A tracker.

    Attributes:
        name: What ``--tracker`` calls it.
        backend: MMEngine's class.
        package: What has to be installed.
        settings: Gives further arguments of the backend for a work directory and a config.
        add_image: Takes the backend, the picture's tag, the picture and the step.
    """

    name: str
    backend: str
    package: str
    settings: Callable[[Path, Config], dict[str, Any]]
    add_image: Callable[[Any, str, np.ndarray, int], None] = _with_step


def _mlflow_settings(folder: Path, config: Config) -> dict[str, Any]:
    """A data base beside the work directory, unless a server is named: MLflow 3 refuses MMEngine's default, files."""
    settings: dict[str, Any] = {
        'exp_name': 'denseclip',
        'run_name': folder.name,
        'tracked_config_keys': [key for key in _KEPT if config.get(key) is not None],
    }
    server = os.environ.get('MLFLOW_TRACKING_URI')
    if server:
        return {**settings, 'tracking_uri': server}
    beside = folder.resolve().parent
    return {
        **settings,
        'tracking_uri': f'sqlite:///{beside / "mlflow.db"}',
        'artifact_location': (beside / 'mlflow_files').as_uri(),
    }


_EVERYTHING_BY_ITERATION = [{'name': 'iter'}, {'name': '*', 'step_metric': 'iter'}]
_KEPT = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'randomness', 'load_from')
"""Keys of the config that become parameters of a run in MLflow, which takes short ones alone; the whole is a file."""

TRACKERS: dict[str, Tracker] = {
    row.name: row
    for row in (
        Tracker('tensorboard', 'TensorboardVisBackend', 'tensorboard', lambda folder, config: {}),
        Tracker(
            'wandb',
            'WandbVisBackend',
            'wandb',
            lambda folder, config: {
                'init_kwargs': {'project': 'denseclip', 'name': folder.name},
                'define_metric_cfg': _EVERYTHING_BY_ITERATION,
            },
            _wandb_image,
        ),
        Tracker(
            'mlflow',
            'MLflowVisBackend',
            'mlflow',
            _mlflow_settings,
            _mlflow_image,
        ),
    )
}


def chosen_trackers(names: Sequence[str]) -> list[Tracker]:
    """Rows of the table.

    Args:
        names: As typed, each perhaps several separated by ",".

    Raises:
        OptionError: There is no such tracker, or its package is not installed.
    """
    asked = dict.fromkeys(name.strip().lower() for part in names for name in part.split(',') if name.strip())
    for name in asked:
        if name not in TRACKERS:
            raise OptionError(f"--tracker: there is no '{name}'; there are {', '.join(TRACKERS)}")
        if importlib.util.find_spec(TRACKERS[name].package) is None:
            raise OptionError(f'--tracker {name} needs a package that is not installed: pip install {name}')
    return [TRACKERS[name] for name in asked]


def use_trackers(config: Config, names: Sequence[str], work_dir: Path) -> None:
    """Let a run tell trackers its losses, learning rates, scores and some painted validation pictures.

    Args:
        config: Changed: ``visualizer.vis_backends`` and ``custom_hooks``.
        names: See :func:`chosen_trackers`; none: nothing is changed.
        work_dir: Of the run, which is called as it.

    Raises:
        OptionError: See :func:`chosen_trackers`.
    """
    trackers = chosen_trackers(names)
    if not trackers:
        return
    visualizer = config.setdefault('visualizer', ConfigDict(type='Visualizer'))
    backends = [ConfigDict(backend) for backend in visualizer.get('vis_backends') or ()]
    known = {str(backend.get('type')).rpartition('.')[2] for backend in backends}
    for tracker in trackers:
        if tracker.backend not in known:
            backends.append(ConfigDict(type=tracker.backend, **tracker.settings(work_dir, config)))
    visualizer.vis_backends = backends
    hook = ConfigDict(type='TrackedPicturesHook', trackers=[tracker.name for tracker in trackers])
    config.custom_hooks = [*(config.get('custom_hooks') or []), hook]
