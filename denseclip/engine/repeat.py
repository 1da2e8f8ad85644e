"""One config, several seeds: how far do results spread? What ``tools/repeat.py`` calls."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.atomic import write_text
from .checkpoints import last_checkpoint

Command = Callable[[str, Sequence[str]], None]
"""Runs ``train`` or ``test`` with arguments and raises when it fails."""
_TIMES = ('time', 'data_time')
_OWN_OPTIONS = ('--work-dir', '--seed', '--resume')


class RepeatError(RuntimeError):
    """A run failed, or what it left behind cannot be used."""


@dataclass(frozen=True)
class Spread:
    """A metric over several seeds.

    Attributes:
        values: One for each seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample (divided by n - 1); ``None`` for one value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def digits(self) -> int:
        """Decimals to print: more where a metric is a fraction, as COCO's AP, than where it is a percentage."""
        return 3 if max(map(abs, self.values)) <= 1 else 2

    def __str__(self) -> str:
        spread = '' if self.deviation is None else f' ± {self.deviation:.{self.digits}f}'
        return f'{self.mean:.{self.digits}f}{spread}'


def repeat(
    config: str | Path,
    seeds: Sequence[int],
    work_dir: str | Path,
    run: Command,
    *,
    train_args: Sequence[str] = (),
    test_args: Sequence[str] = (),
) -> dict[int, dict[str, float]]:
    """Train and test a config once for every seed; what is done already is not done again.

    Each seed has a folder ``seed_N`` in the work directory. A training that was stopped goes on from its last
    checkpoint; a finished seed leaves ``metrics.json``.

    Args:
        config: Config file.
        seeds: Seeds of the runs.
        work_dir: Where everything goes.
        run: Starts a tool in a process of its own, so that no run can touch the next.
        train_args: Further arguments of ``tools/train.py``.
        test_args: Further arguments of ``tools/test.py``.

    Returns:
        Metrics of every seed.

    Raises:
        RepeatError: A run failed, the folder belongs to other arguments, or there are no seeds.
    """
    if not seeds:
        raise RepeatError('no seeds: give how many (at least 1), or the seeds themselves')
    for argument in (*train_args, *test_args):
        if argument.split('=')[0] in _OWN_OPTIONS:
            raise RepeatError(f'{argument} is set for each seed; leave it out (--work-dir and --seeds of repeat.py)')
    work_dir = Path(work_dir)
    _same_run(work_dir, {'config': str(config), 'train': list(train_args), 'test': list(test_args)})
    found = {}
    for seed in seeds:
        folder = work_dir / f'seed_{seed}'
        result = folder / 'metrics.json'
        if not result.is_file():
            run('train', [str(config), '--work-dir', str(folder), '--seed', str(seed), '--resume', *train_args])
            checkpoint = last_checkpoint(folder)
            if checkpoint is None:
                raise RepeatError(f'{folder}: training ended without a checkpoint; does the config save one?')
            run('test', [str(config), str(checkpoint), '--work-dir', str(folder / 'test'), *test_args])
            write_text(result, json.dumps(_newest_metrics(folder / 'test'), indent=1))
        found[seed] = json.loads(result.read_text(encoding='utf-8'))
    return found


def _same_run(work_dir: Path, what: dict[str, object]) -> None:
    """Refuse to mix results of different arguments in one folder."""
    path = work_dir / 'repeat.json'
    if path.is_file():
        earlier = json.loads(path.read_text(encoding='utf-8'))
        for key, value in what.items():
            if earlier.get(key) != value:
                raise RepeatError(
                    f'{work_dir} holds runs with {key} {earlier.get(key)!r}, now it is {value!r}; choose another '
                    '--work-dir'
                )
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(what, indent=1))


def _newest_metrics(folder: Path) -> dict[str, float]:
    """Metrics of the last test in a work directory."""
    files = sorted(path for path in folder.glob('*/*.json') if path.stem == path.parent.name)
    if not files:
        raise RepeatError(f'{folder}: the test left no metrics')
    content = json.loads(files[-1].read_text(encoding='utf-8').strip().splitlines()[-1])
    return {key: float(value) for key, value in content.items() if key not in _TIMES and isinstance(value, int | float)}


def spreads(metrics: dict[int, dict[str, float]]) -> dict[str, Spread]:
    """Every metric that all seeds have, over the seeds in their order."""
    shared = [key for key in next(iter(metrics.values()), {}) if all(key in found for found in metrics.values())]
    return {key: Spread(tuple(found[key] for found in metrics.values())) for key in shared}


def render(metrics: dict[int, dict[str, float]]) -> str:
    """A Markdown table: a row for each metric, its mean ± standard deviation, and the value of each seed."""
    seeds = list(metrics)
    lines = [f'| metric | mean ± sd | {" | ".join(f"seed {seed}" for seed in seeds)} |']
    lines.append(f'| --- |{" ---: |" * (len(seeds) + 1)}')
    for key, spread in spreads(metrics).items():
        lines.append(f'| {key} | {spread} | {" | ".join(f"{value:.{spread.digits}f}" for value in spread.values)} |')
    return '\n'.join(lines)
