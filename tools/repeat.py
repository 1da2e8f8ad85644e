#!/usr/bin/env python
"""Train and test a config with several seeds and print mean and standard deviation of every metric.

python tools/repeat.py CONFIG --seeds 3 [--work-dir DIR] [--train OPTIONS ...] [--test OPTIONS ...]

Started again it goes on where it stopped. --train and --test take options of tools/train.py and tools/test.py:
python tools/repeat.py CONFIG --seeds 0 1 2 --train --amp --cfg-options train_cfg.max_iters=1000
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from denseclip.cli.programs import add_debug_option, program

TOOLS = Path(__file__).resolve().parent


def run_tool(name: str, arguments: Sequence[str]) -> None:
    """Start ``tools/NAME.py`` in a process of its own."""
    from denseclip.engine.repeat import RepeatError

    print(f'$ tools/{name}.py {" ".join(arguments)}', flush=True)
    done = subprocess.run([sys.executable, str(TOOLS / f'{name}.py'), *arguments], check=False)
    if done.returncode:
        raise RepeatError(
            f'tools/{name}.py ended with exit code {done.returncode}; the same command goes on from there'
        )


def split_arguments(argv: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Arguments of this tool, and those behind ``--train`` and ``--test``."""
    own: list[str] = []
    passed: dict[str, list[str]] = {'--train': [], '--test': []}
    current = own
    for argument in argv:
        if argument in passed:
            current = passed[argument]
        else:
            current.append(argument)
    return own, passed


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    own, passed = split_arguments(argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[3], help='how many seeds from 0 on, or the seeds themselves'
    )
    parser.add_argument('--work-dir', help='where everything goes (default: work_dirs/<config name>_seeds)')
    add_debug_option(parser)
    args = parser.parse_args(own)

    from denseclip.engine.repeat import RepeatError, render, repeat

    if len(args.seeds) == 1 and args.seeds[0] < 1:
        parser.error('--seeds: at least one, or the seeds themselves (--seeds 0 1)')
    seeds = list(range(args.seeds[0])) if len(args.seeds) == 1 else args.seeds
    work_dir = args.work_dir or f'work_dirs/{Path(args.config).stem}_seeds'
    if not Path(args.config).is_file():
        raise RepeatError(f"config '{args.config}' does not exist")
    found = repeat(args.config, seeds, work_dir, run_tool, train_args=passed['--train'], test_args=passed['--test'])
    print(render(found))
    return 0


if __name__ == '__main__':
    sys.exit(main())
