"""Train a model: ``python tools/train.py CONFIG [options]``."""

import argparse
import os
import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle data sets.
import denseclip  # noqa: F401
from denseclip.apis.cfg_options import add_cfg_options
from denseclip.apis.programs import add_debug_option, program


def parse_args(argv: list[str]) -> argparse.Namespace:
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
    add_cfg_options(parser, '--cfg-options')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--seed', type=int, help='seed of the run (default: the config, else drawn and logged)')
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms only')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    parser.add_argument('--verbose', action='store_true', help='show config and environment on the terminal, too')
    add_debug_option(parser)
    return parser.parse_args(argv)


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    args = parse_args(argv)

    from denseclip.engine.launch import TrainOptions, train

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
        verbose=args.verbose,
    )
    train(args.config, options)


if __name__ == '__main__':
    sys.exit(main())
