"""Train a model: ``python tools/train.py CONFIG [options]``."""

import argparse
import os
import sys

from mmengine.config import DictAction

# At module level: worker processes that start by `spawn` import this file before they unpickle data sets.
import denseclip  # noqa: F401
from denseclip.engine.config import OptionError
from denseclip.engine.launch import TrainOptions, train
from denseclip.weights import WeightFileError, WeightMismatchError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue exactly where a checkpoint stopped; without a value: the last one of the work directory, if any',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (float16 on a GPU, bfloat16 on the CPU)')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale learning rates to the actual batch size')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override config entries: key.sub=value ...'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--seed', type=int, help='seed of the run (default: the config, else drawn and logged)')
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms only')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = TrainOptions(
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        overrides=args.cfg_options,
        launcher=args.launcher,
        seed=args.seed,
        deterministic=args.deterministic,
    )
    try:
        train(args.config, options)
    except (OptionError, WeightFileError, WeightMismatchError) as error:
        sys.exit(f'train.py: {error}')


if __name__ == '__main__':
    main()
