"""Train and test the variants, one after the other; a second call goes on where the first stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from denseclip.datasets.miniworld import write_miniworld
from denseclip.engine.config import OptionError, load_config
from denseclip.engine.launch import TestOptions, TrainOptions, test, train
from denseclip.files.atomic import write_text
from denseclip.files.shipped import shipped

from .table import write_table
from .variants import Variant

_TASKS = ('semantic', 'panoptic', 'proposals')
_DATA_KEYS = tuple(f'{split}_dataloader.dataset.data_root' for split in ('train', 'val', 'test'))


@dataclass(frozen=True)
class StudyOptions:
    """How a study is run.

    Attributes:
        out: Folder of runs, results and tables.
        data: Folder of the data; written if it does not exist.
        seeds: Seeds of the runs.
        iterations: Training iterations; None: the config's.
        count: Training pictures.
        val_count: Validation pictures.
        overrides: Changes to every config.
    """

    out: Path
    data: Path
    seeds: Sequence[int] = (0, 1, 2)
    iterations: int | None = None
    count: int = 1000
    val_count: int = 200
    overrides: Mapping[str, Any] = field(default_factory=dict)


def run_study(
    variants: Sequence[Variant], options: StudyOptions, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Run everything that has no result yet, and write the tables after each run.

    Args:
        variants: Rows; those that others start from come first.
        options: How to run.
        say: Called with a line about each run.

    Returns:
        Results, seed by seed: ``variant``, ``seed``, ``scores`` and what decides them.
    """
    write_miniworld('coco', options.data, count=options.count, val_count=options.val_count, size=(96, 96))
    results = []
    for seed in options.seeds:
        for variant in variants:
            result = run_variant(variant, seed, options)
            scores = result['scores']
            say(f'{variant.name} seed {seed}: ' + ', '.join(f'{k} {scores[k]:.2f}' for k in ('mIoU-unseen', 'PQ')))
            results.append(result)
            write_table(results, options.out)
    return results


def run_variant(variant: Variant, seed: int, options: StudyOptions) -> dict[str, Any]:
    """Result of one training and test, from its file if it was made before with the same settings."""
    folder = run_folder(options.out, variant.name, seed)
    file = folder / 'result.json'
    facts = _facts(variant, seed, options)
    found = _read(file)
    if found is not None and found['facts'] == facts:
        return found
    config = shipped(variant.config)
    if config is None:
        raise OptionError(f"'{variant.config}' does not come with this copy of the package: take the repository")
    overrides = {**_settings(config, variant, options), **options.overrides}
    start = None if variant.starts_from is None else _checkpoint(options.out, variant.starts_from, seed)
    if variant.only_test:
        weights = start
    else:
        load = {} if start is None else {'load_from': str(start)}
        _start_over_if_changed(folder, facts, found)
        train(config, TrainOptions(work_dir=str(folder), seed=seed, resume='auto', overrides={**overrides, **load}))
        weights = _checkpoint(options.out, variant.name, seed)
    scores = test(config, weights, TestOptions(work_dir=str(folder / 'test'), overrides=_all_tasks(config, overrides)))
    result = {'variant': variant.name, 'seed': seed, 'facts': facts, 'scores': {k: float(v) for k, v in scores.items()}}
    write_text(file, json.dumps(result, indent=1) + '\n')
    return result


def _start_over_if_changed(folder: Path, facts: dict[str, Any], found: dict[str, Any] | None) -> None:
    """Let a training go on from its own checkpoints only: those of other settings are no start for it."""
    begun = folder / 'facts.json'
    before = _read(begun) or (found and found['facts'])
    if before is not None and before != facts:
        (folder / 'last_checkpoint').unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(begun, json.dumps(facts, indent=1) + '\n')


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding='utf-8')) if file.is_file() else None


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Folder of one run."""
    return Path(out) / 'runs' / f'{name.replace("/", "_")}_seed{seed}'


def _facts(variant: Variant, seed: int, options: StudyOptions) -> dict[str, Any]:
    """What decides the scores, as plain data."""
    settings = {'iterations': options.iterations, 'count': options.count, 'val_count': options.val_count}
    facts = {**asdict(variant), **settings, 'seed': seed, 'overrides': dict(options.overrides)}
    return json.loads(json.dumps(facts))


def _settings(config: Path, variant: Variant, options: StudyOptions) -> dict[str, Any]:
    """Overrides of one variant."""
    content = load_config(config, {})
    steps = content.max_iters if options.iterations is None else options.iterations
    schedule = [{**dict(part), 'end': steps} for part in content.param_scheduler]
    return {
        **{f'model.{key}': value for key, value in variant.model.items()},
        **dict.fromkeys(_DATA_KEYS, str(options.data)),
        'param_scheduler': schedule,
        'train_cfg.max_iters': steps,
        'train_cfg.val_interval': steps + 1,  # it is tested after the training, by all measures at once
        'default_hooks.checkpoint.interval': steps,
    }


def _all_tasks(config: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides that score all tasks in one test."""
    evaluators = load_config(config, {}).task_evaluators
    return {
        **overrides,
        'model.test_cfg.task': list(_TASKS),
        'test_evaluator': [dict(evaluators[task]) for task in _TASKS],
    }


def _checkpoint(out: Path, name: str, seed: int) -> Path:
    """The last checkpoint of a run."""
    pointer = run_folder(out, name, seed) / 'last_checkpoint'
    return Path(pointer.read_text(encoding='utf-8').strip())
