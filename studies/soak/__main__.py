"""Do memory, open files and threads stay flat over thousands of calls?

python -m studies.soak segment anomaly runtime serve train --calls 5000 --out soak

Every call has another size and other words. Each target is a process of its own; `soak/TARGET.csv` holds what it used,
`soak/TARGET.png` shows it, and the table says how much memory a call adds: the slope of the last four fifths, fitted to
the means of twelve blocks, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLIP = 'local-dir:checkpoints/miniworld_clip'
CONFIG = f"""# MaskCLIP with small windows and one sentence a name: a call takes hundredths of a second.
default_scope = 'mmseg'
custom_imports = dict(imports=['denseclip'], allow_failed_imports=False)
model = dict(
    type='OpenVocabularySegmentor',
    clip=dict(model='{CLIP}', preset='maskclip'),
    templates='photo',
    vocabulary='sky; road',
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=8),
)
test_dataloader = dict(
    dataset=dict(pipeline=[dict(type='Resize', scale=(2048, 64), keep_ratio=True), dict(type='PackSegInputs')])
)
"""
_BLOCKS = 12
_T = 2.228  # 95 % of Student's distribution with 10 degrees of freedom
_SIDES = (48, 64, 80, 96, 128)
_SAMPLES = 250


@dataclass(frozen=True)
class Use:
    """What a process uses.

    Attributes:
        calls: Calls so far.
        memory: Resident, in KB.
        files: Open descriptors.
        threads: Threads.
    """

    calls: int
    memory: float
    files: int
    threads: int


def use_of(process: int, calls: int) -> Use:
    """Look at a process."""
    place = Path('/proc') / str(process)
    pages = int((place / 'statm').read_text().split()[1])
    return Use(calls, pages * os.sysconf('SC_PAGE_SIZE') / 1024, _entries(place / 'fd'), _entries(place / 'task'))


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def slope(uses: list[Use]) -> tuple[float, float]:
    """KB that a call adds, and the half of its 95 % interval, over the last four fifths.

    Means of blocks, since neighbouring samples are alike and would promise too much.
    """
    late = uses[len(uses) // 5 :]
    parts = np.array_split(np.array([(use.calls, use.memory) for use in late], float), _BLOCKS)
    x, y = np.array([part.mean(0) for part in parts]).T
    x = x - x.mean()
    rate = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - rate * x
    return rate, float(_T * np.sqrt((rest * rest).sum() / (_BLOCKS - 2) / (x * x).sum()))


def words(number: int) -> str:
    """Words of a call: three of a hundred, and one that no other call has."""
    rng = np.random.default_rng(number)
    return '; '.join([*(f'thing{k}' for k in rng.choice(100, 3, replace=False)), f'word {number}'])


def picture(number: int) -> np.ndarray:
    """Picture of a call, uint8, (H, W, 3)."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (*rng.choice(_SIDES, 2), 3), np.uint8)


def small_model(folder: str | Path) -> tuple[str, str]:
    """Write a config and its weights into a folder; their paths."""
    from safetensors.torch import save_file

    import denseclip

    config, weights = Path(folder) / 'small.py', Path(folder) / 'small.safetensors'
    config.write_text(CONFIG)
    model: Any = denseclip.load_model('maskclip', clip=CLIP, words='sky; road').model
    save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, weights)
    return str(config), str(weights)


def segment() -> Iterator[None]:
    """A model with free words in Python."""
    import denseclip

    with tempfile.TemporaryDirectory() as folder:
        config, weights = small_model(folder)
        model = denseclip.load_model(config=config, weights=weights)
        for number in _numbers():
            model(picture(number), words(number))
            yield


def anomaly() -> Iterator[None]:
    """A model of defects, by words; every twentieth call has another object, every tenth result is written."""
    import denseclip

    model = denseclip.load_model('anovl', clip=CLIP)
    with tempfile.TemporaryDirectory() as folder:
        for number in _numbers():
            result = model(picture(number), f'part {number // 20}')
            if number % 10 == 0:
                result.save(folder, force=True)
            yield


def runtime() -> Iterator[None]:
    """An exported model."""
    with tempfile.TemporaryDirectory() as folder:
        config, weights = small_model(folder)
        out = f'{folder}/exported'
        made = [sys.executable, '-m', 'denseclip', 'export', config, '--weights', weights, '--out', out]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        from denseclip.runtime.loading import load

        model: Any = load(out, None)
        for number in _numbers():
            model(picture(number), words(number))
            yield


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def in_this_process(calls: int, target: Callable[[], Iterator[None]]) -> list[Use]:
    """Call a target, and look at this process now and then."""
    uses, every = [], max(calls // _SAMPLES, 1)
    for number, _ in zip(range(1, calls + 1), target(), strict=False):
        if number % every == 0:
            uses.append(use_of(os.getpid(), number))
    return uses


def serve(calls: int) -> list[Use]:
    """A server, asked over HTTP; what it uses is looked at from outside."""
    with tempfile.TemporaryDirectory() as folder:
        return _ask_server(calls, *small_model(folder))


def _ask_server(calls: int, config: str, weights: str) -> list[Use]:
    import httpx
    from PIL import Image

    command = [sys.executable, '-m', 'denseclip', 'serve', '--config', config, '--weights', weights, '--port', '0']
    uses: list[Use] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = next(line.split()[1] for line in server.stdout if line.startswith('page'))
        # It says a line a request: a pipe that nobody empties holds it up after some hundreds.
        threading.Thread(target=deque, args=(server.stdout, 0), daemon=True).start()
        every = max(calls // _SAMPLES, 1)
        try:
            with httpx.Client(base_url=address, timeout=300, transport=httpx.HTTPTransport(retries=50)) as client:
                for number in range(1, calls + 1):
                    out = io.BytesIO()
                    Image.fromarray(picture(number)).save(out, 'PNG')
                    form = {'words': words(number)}
                    found = client.post('segment', data=form, files={'image': ('a.png', out.getvalue())})
                    found.raise_for_status()
                    if number % every == 0:
                        uses.append(use_of(server.pid, number))
        finally:
            server.terminate()
    return uses


def train(calls: int) -> list[Use]:
    """Training with a validation every tenth iteration; a call is an iteration."""
    from mmengine.hooks import Hook
    from mmengine.registry import HOOKS

    from denseclip.engine.launch import TrainOptions
    from denseclip.engine.launch import train as run

    uses: list[Use] = []
    every = max(calls // _SAMPLES, 1)

    @HOOKS.register_module(force=True)
    class SoakHook(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            if (runner.iter + 1) % every == 0:
                uses.append(use_of(os.getpid(), runner.iter + 1))

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / 'CamVid'
        _camvid(data)
        splits = ('train', 'val', 'test')
        options: dict[str, Any] = {f'{split}_dataloader.dataset.data_root': str(data) for split in splits}
        options |= {'train_cfg.max_iters': calls, 'train_cfg.val_interval': 10, 'default_hooks.checkpoint.interval': 50}
        options |= {'custom_hooks': [dict(type='SoakHook')]}
        run('tests/engine/toy_fpn.py', TrainOptions(work_dir=f'{folder}/run', overrides=options))
    return uses


def _camvid(root: Path) -> None:
    """Pictures of noise with labels in CamVid's layout."""
    from PIL import Image

    for split, count in (('train', 8), ('val', 2)):
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng(number)
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(root / split / f'{number}.png')
            Image.fromarray(rng.integers(0, 11, (48, 64), np.uint8)).save(root / f'{split}annot' / f'{number}.png')


TARGETS: dict[str, Callable[[int], list[Use]]] = {
    'segment': lambda calls: in_this_process(calls, segment),
    'anomaly': lambda calls: in_this_process(calls, anomaly),
    'runtime': lambda calls: in_this_process(calls, runtime),
    'serve': serve,
    'train': train,
}


def report(name: str, uses: list[Use], folder: Path) -> str:
    """Write the samples and their picture; a line of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f'{name}.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['calls', 'memory in KB', 'files', 'threads'])
        writer.writerows([(use.calls, round(use.memory), use.files, use.threads) for use in uses])
    _plot(name, uses, folder / f'{name}.png')
    rate, error = slope(uses)
    middle, last = uses[len(uses) // 5], uses[-1]
    cells = [
        name,
        f'{last.calls:,}',
        f'{middle.memory / 1024:.0f}, {last.memory / 1024:.0f}',
        f'{rate:+.3f} ± {error:.3f}',
        f'{middle.files}, {last.files}',
        f'{middle.threads}, {last.threads}',
    ]
    return '| ' + ' | '.join(cells) + ' |'


def _plot(name: str, uses: list[Use], path: Path) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 2.2), dpi=80)
    axes.plot([use.calls for use in uses], [use.memory / 1024 for use in uses], linewidth=1)
    axes.set(xlabel='calls', ylabel='resident MB', title=name)
    axes.set_ylim(0, 1.25 * max(use.memory for use in uses) / 1024)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> int:
    """Run targets, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', choices=TARGETS)
    parser.add_argument('--calls', type=int, default=5000)
    parser.add_argument('--out', type=Path, default=Path('soak'))
    args = parser.parse_args(argv)
    if len(args.targets) == 1:
        start = time.monotonic()
        print(report(args.targets[0], TARGETS[args.targets[0]](args.calls), args.out), flush=True)
        print(f'{time.monotonic() - start:.0f} s', file=sys.stderr)
        return 0
    print('| | calls | MB after a fifth, at the end | KB a call | open files | threads |')
    print('|---|---:|---:|---:|---:|---:|', flush=True)
    failed = 0
    for target in args.targets:
        command = [sys.executable, '-m', 'studies.soak', target, '--calls', str(args.calls), '--out', str(args.out)]
        failed |= subprocess.run(command, check=False).returncode
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
