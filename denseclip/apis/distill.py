"""A small model of fixed classes learns from a teacher's labels, without a human one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from denseclip.apis.errors import UserError
from denseclip.apis.files import write_file
from denseclip.apis.labelling.folder import CONFIDENCES
from denseclip.apis.labelling.store import Store
from denseclip.apis.new_dataset import new_dataset
from denseclip.compat.config_text import config_text
from denseclip.core.precision import Precision
from denseclip.engine.compute import Layout
from denseclip.engine.config import load_config
from denseclip.engine.launch import TrainOptions, train
from denseclip.files.shipped import config_file, here_or_shipped
from denseclip.weights.publish import publish

BASE = 'configs/distill/distill_fpn_efficientnet-lite0_camvid-256x320.py'
"""A student that runs on any machine: its ImageNet trunk comes from a package."""
VAL_SHARE = 0.1
"""Part of the pictures that is held out, where nothing is split."""
DATA_CONFIG, CONFIG, WEIGHTS = 'data.py', 'config.py', 'student.safetensors'
_WARM_UP = 50


@dataclass(frozen=True)
class Student:
    """What :func:`distill` made.

    Attributes:
        config: Its config.
        weights: Its weights.
        classes: What it tells apart.
        scores: Last scores on held-out pictures, against the teacher's labels.
    """

    config: Path
    weights: Path
    classes: tuple[str, ...]
    scores: Mapping[str, float]


def distill(
    data: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    iterations: int | None = None,
    least: float = 0.0,
    trunk: str | Path | None = None,
    val_share: float = VAL_SHARE,
    resume: bool = False,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    precision: Precision | None = None,
    layout: Layout = 'auto',
    compile: bool | str = False,
) -> Student:
    """Train a student.

    Args:
        data: What ``denseclip label --to masks`` wrote; or a config to train on, which only ``iterations``, ``trunk``
            and ``overrides`` change then.
        out: Folder for config, training and weights.
        base: Config of the student; by default :data:`BASE`.
        iterations: How many steps; by default the config's.
        least: Least confidence of the teacher in a pixel that teaches, 0..1; needs ``label --confidences``.
        trunk: Checkpoint of a model of ours with the same trunk, to begin with instead of ImageNet's weights.
        val_share: Part of the pictures that is held out, where nothing is split.
        resume: Go on with a training that was stopped. Its config stays: what shapes it cannot be given again.
        seed: Of the training.
        overrides: Dotted config keys and values.
        precision: What it trains in, see :class:`denseclip.engine.compute.Compute`, as the next two; None: as the
            config says.
        layout: Of convolutions.
        compile: Make graphs.

    Raises:
        UserError: If the data are no label maps of a teacher, or something does not go together.
    """
    data, out = Path(data), Path(out)
    if not 0 <= least <= 1:
        raise UserError(f'--min-confidence is {least:g}; it must be between 0 and 1.')
    config = out / CONFIG
    if config.exists() and not resume:
        raise UserError(f"'{out}' holds a student already; go on with --resume, or choose another folder.")
    if config.exists():
        _check_nothing_is_new(config, base, iterations, least, trunk, val_share)
    else:
        out.mkdir(parents=True, exist_ok=True)
        above = _given(data, least, base) if data.suffix == '.py' else _of_labels(data, out, base, val_share)
        entries = _changes(load_config(above), iterations, trunk)
        if data.suffix != '.py':
            entries = _balanced(entries, load_config(above), Store(data))
        if least:
            entries['train_dataloader'] = {'dataset': {'pipeline': _sure_alone(load_config(above), data, least)}}
        parent = DATA_CONFIG if above.parent == out else str(above.resolve())
        write_file(
            config, config_text({'_base_': parent, **entries}, header='Config of a student; change it as you like.')
        )
    options = TrainOptions(
        work_dir=str(out / 'work'),
        resume='auto' if resume else None,
        precision=precision,
        layout=layout,
        compile=compile,
        seed=seed,
        overrides=dict(overrides or {}),
    )
    runner: Any = train(config, options)
    weights = _publish(Path(runner.work_dir), out)
    scores = {key: float(value) for key, value in _last_scores(runner).items()}
    return Student(config, weights, tuple(_classes(load_config(config))), scores)


def _check_nothing_is_new(
    config: Path, base: object, iterations: object, least: float, trunk: object, val_share: float
) -> None:
    """What shapes a config has no effect on one that is there."""
    given = {
        '--base': base is not None,
        '--iterations': iterations is not None,
        '--min-confidence': least > 0,
        '--trunk': trunk is not None,
        '--val-share': val_share != VAL_SHARE,
    }
    for option in (name for name, there in given.items() if there):
        raise UserError(
            f"{option} shapes '{config}', which is there and stays as it is with --resume: leave it out, change the "
            'config, or choose another folder.'
        )


def _publish(work_dir: Path, out: Path) -> Path:
    """The last weights of a training, without what only training needs; earlier ones are replaced."""
    last = Path((work_dir / 'last_checkpoint').read_text(encoding='utf-8').strip())
    new = out / f'.new-{WEIGHTS}'
    new.unlink(missing_ok=True)
    publish(last, new, metadata={'made by': 'denseclip distill'})
    new.replace(out / WEIGHTS)
    return out / WEIGHTS


def _given(data: Path, least: float, base: str | Path | None) -> Path:
    """A config that is trained on as it is."""
    if least or base is not None:
        raise UserError('a config says its data and its model itself: leave --min-confidence and --base out.')
    found = config_file(str(data))
    if not found.is_file():
        raise UserError(f"config '{data}' does not exist.")
    return found


def _of_labels(data: Path, out: Path, base: str | Path | None, val_share: float) -> Path:
    """A config for label maps of a teacher.

    Raises:
        UserError: If they are none, or the audit finds something wrong with them.
    """
    run = Store(data).opened()
    if run.layout != 'masks':
        raise UserError(f"'{data}' holds labels as {run.layout}; a student learns from those of 'label --to masks'.")
    made = new_dataset(
        data,
        out / DATA_CONFIG,
        base=here_or_shipped(base or BASE),
        converted=out / 'labels',
        val_share=val_share,
        force=True,
        kind='label maps',
    )
    if not made.ok:
        wrong = next(text for report in made.reports.values() for text in report.render().splitlines() if text)
        raise UserError(f"the labels in '{data}' cannot be trained on: {wrong}; see 'denseclip check {made.config}'.")
    return made.config


def _changes(config: Config, iterations: int | None, trunk: str | Path | None) -> dict[str, Any]:
    """What a student's config says otherwise than the one below it."""
    entries: dict[str, Any] = {}
    if trunk is not None:
        place = here_or_shipped(trunk)
        if config.model.get('backbone', {}).get('type') != 'TimmTrunk':
            raise UserError(
                '--trunk goes with students whose backbone is a TimmTrunk; leave it out, or choose another.'
            )
        if not place.is_file():
            raise UserError(f"the checkpoint '{trunk}' of --trunk does not exist.")
        source = {'source': str(place.resolve()), 'converter': 'trunk', '_delete_': True}
        entries['model'] = {'backbone': {'pretrained': source}}
    if iterations is not None:
        warm = min(_WARM_UP, max(1, iterations // 10))
        entries['max_iters'] = iterations
        entries['train_cfg'] = {'max_iters': iterations, 'val_interval': iterations}
        entries['param_scheduler'] = [
            {'type': 'LinearLR', 'start_factor': 1e-2, 'by_epoch': False, 'begin': 0, 'end': warm},
            {'type': 'PolyLR', 'power': 0.9, 'eta_min': 1e-6, 'by_epoch': False, 'begin': warm, 'end': iterations},
        ]
        entries['default_hooks'] = {'checkpoint': {'interval': max(1, iterations // 4)}}
    return entries


def _balanced(entries: dict[str, Any], config: Config, store: Store) -> dict[str, Any]:
    """The entries with class weights: thin and rare classes count a little more.

    The fourth root of (median frequency / frequency) over the labels, as for the bundled model. Other losses than a
    plain cross entropy stay as they are.
    """
    loss = config.model.decode_head.get('loss_decode')
    if not isinstance(loss, Mapping) or loss.get('type') != 'CrossEntropyLoss' or loss.get('use_sigmoid'):
        return entries
    pixels = np.zeros(config.model.decode_head.num_classes)
    for record in store.decided():
        for entry in record.objects:
            pixels[entry.label] += entry.area
    seen = pixels > 0
    weights = np.ones_like(pixels)
    weights[seen] = (np.median(pixels[seen]) / pixels[seen]) ** 0.25
    balanced = {
        'type': 'ClassBalancedCrossEntropyLoss',
        'class_weight': weights.round(3).tolist(),
        'loss_weight': loss.get('loss_weight', 1.0),
        '_delete_': True,
    }
    return {**entries, 'model': {**entries.get('model', {}), 'decode_head': {'loss_decode': balanced}}}


def _sure_alone(config: Config, data: Path, least: float) -> list[dict[str, Any]]:
    """The training pipeline, in which doubtful pixels lose their labels."""
    if not (data / CONFIDENCES).is_dir():
        raise UserError(
            f"'{data}' says nothing of confidences; label it with --confidences, or leave --min-confidence out."
        )
    step = {
        'type': 'IgnoreDoubtful',
        'labels': str((data / 'masks').absolute()),
        'confidences': str((data / CONFIDENCES).absolute()),
        'least': least,
    }
    steps = [dict(found) for found in config.train_pipeline]
    place = next(k for k, found in enumerate(steps) if str(found['type']).rpartition('.')[2] == 'LoadAnnotations')
    return [*steps[: place + 1], step, *steps[place + 1 :]]


def _classes(config: Config) -> list[str]:
    dataset = config.train_dataloader.dataset
    return list((dataset.get('metainfo') or {}).get('classes') or ())


def _last_scores(runner: Any) -> dict[str, float]:
    """Scores of the last validation."""
    history = runner.message_hub.log_scalars
    return {
        key.removeprefix('val/'): found.current()
        for key, found in history.items()
        if key.startswith('val/') and not key.endswith(('time', 'data_time'))
    }
