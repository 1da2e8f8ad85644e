"""Kill workers of a training at random moments, and compare what it ends with to an unbroken one, bit for bit.

    python studies/elastic.py configs/miniworld/clip_vit-xs8_miniworld-64x64.py --seeds 1 2 3 --kills 3 --iters 40 \
        --cfg-options train_dataloader.batch_size=8

The run is ``torchrun --max-restarts N tools/train.py CONFIG --launcher pytorch --resume``. As soon as its log shows a
step that was drawn, and a random part of a second later, a random worker gets SIGKILL or SIGTERM; torchrun stops the
others and starts all of them again.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer

from denseclip.engine.checkpoints import read_training_file

TRAIN = Path(__file__).parents[1] / 'tools' / 'train.py'
_CLOCKS = ('time', 'data_time', 'eta', 'memory')
_PER_RUN = ('cfg', 'experiment_name', 'last_ckpt', 'best_ckpt')


def start(args: argparse.Namespace, work_dir: Path, restarts: int) -> subprocess.Popen[bytes]:
    """Start a run."""
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node', str(args.processes), '--max-restarts', str(restarts)]
    launch += ['--master-port', str(random.SystemRandom().randrange(20000, 60000)), '--monitor-interval', '0.2']
    options = ['--launcher', 'pytorch', '--resume', '--seed', '0', '--work-dir', str(work_dir), *args.options]
    changes = [
        f'train_cfg.max_iters={args.iters}',
        f'default_hooks.checkpoint.interval={args.interval}',
        'default_hooks.checkpoint.max_keep_ckpts=2',
        'default_hooks.logger.interval=1',
        *args.cfg_options,
    ]
    command = [sys.executable, *launch, str(TRAIN), args.config, *options, '--cfg-options', *changes]
    work_dir.mkdir(parents=True)
    with (work_dir / 'terminal.log').open('wb') as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def workers(parent: int) -> list[int]:
    """Processes that torchrun has started and that still run."""
    found = subprocess.run(['pgrep', '-P', str(parent)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def step_of(work_dir: Path) -> int:
    """The last step that the newest log tells of."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    steps = re.findall(r'"step": (\d+)', logs[-1].read_text()) if logs else []
    return int(steps[-1]) if steps else 0


def broken(args: argparse.Namespace, seed: int, work_dir: Path) -> list[str]:
    """A run with kills; returns what was done to it."""
    rng = random.Random(seed)
    targets = sorted(rng.sample(range(2, args.iters), args.kills))
    process, done = start(args, work_dir, args.kills), []
    for target in targets:
        while process.poll() is None and step_of(work_dir) < target:
            time.sleep(0.05)
        time.sleep(rng.random() * args.spread)
        alive = workers(process.pid)
        if process.poll() is not None or not alive:
            break
        victim, how = rng.randrange(len(alive)), rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        os.kill(alive[victim], how)
        done.append(f'{how.name} to worker {victim} at step {step_of(work_dir)}')
        while process.poll() is None and set(workers(process.pid)) & set(alive):
            time.sleep(0.05)
    if process.wait() != 0:
        raise SystemExit(f'the run of seed {seed} failed: {work_dir / "terminal.log"}')
    return done


def state_of(work_dir: Path) -> dict[str, Any]:
    """The last checkpoint without clocks and paths."""
    content = read_training_file((work_dir / 'last_checkpoint').read_text().strip())
    hub = content['message_hub']
    for key in [key for key in hub['log_scalars'] if key.rsplit('/', 1)[-1] in _CLOCKS]:
        del hub['log_scalars'][key]
    for key in (*_PER_RUN, *_CLOCKS):
        hub['runtime_info'].pop(key, None)
    hub.pop('resumed_keys')
    meta = content.pop('meta')
    return {**content, **{key: meta[key] for key in ('epoch', 'iter', 'seed')}}


def differences(a: Any, b: Any, where: str = '') -> list[str]:
    """Names of what is not the same in two nested containers."""
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
        return [] if same else [where]
    if isinstance(a, dict):
        found = [f'{where}.{key}: only in one' for key in a.keys() ^ b.keys()]
        return found + [name for key in a.keys() & b.keys() for name in differences(a[key], b[key], f'{where}.{key}')]
    if isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f'{where}: {len(a)} and {len(b)} entries']
        return [name for k, pair in enumerate(zip(a, b, strict=True)) for name in differences(*pair, f'{where}[{k}]')]
    if isinstance(a, HistoryBuffer):
        return differences([part.tolist() for part in a.data], [part.tolist() for part in b.data], where)
    return [] if a == b or (a != a and b != b) else [where]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--iters', type=int, default=40)
    parser.add_argument('--interval', type=int, default=4, help='iterations between checkpoints')
    parser.add_argument('--spread', type=float, default=0.5, help='most seconds between the step and the kill')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/elastic'))
    parser.add_argument('--options', nargs='*', default=[], help='more options of tools/train.py, without dashes')
    parser.add_argument('--cfg-options', nargs='*', default=[])
    args = parser.parse_args()
    args.options = [f'--{option}' for option in args.options]
    begun = time.time()
    there = (args.work_dir / 'unbroken' / 'last_checkpoint').exists()
    if not there and start(args, args.work_dir / 'unbroken', 0).wait() != 0:
        raise SystemExit(f'the unbroken run failed: {args.work_dir}/unbroken/terminal.log')
    print(f'unbroken: {time.time() - begun:.0f} s', flush=True)
    whole, failed = state_of(args.work_dir / 'unbroken'), 0
    for seed in args.seeds:
        folder = args.work_dir / f'seed_{seed}'
        done = broken(args, seed, folder)
        found = differences(state_of(folder), whole)
        failed += bool(found)
        rest = sorted(path.name for path in folder.iterdir() if path.name.startswith('.'))
        print(f'seed {seed}: {"; ".join(done)}: {found or "the same bits"}; left over: {rest}', flush=True)
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
