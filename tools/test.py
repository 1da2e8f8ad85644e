"""Evaluate a checkpoint: ``python tools/test.py CONFIG [CHECKPOINT] [options]``."""

import argparse
import os
import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle data sets.
import denseclip  # noqa: F401
from denseclip.apis.cfg_options import add_cfg_options
from denseclip.apis.programs import add_debug_option, program


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help=".safetensors, .pth of this suite or of MMEngine, or the authors' file; none for models without training",
    )
    parser.add_argument('--work-dir', help='where logs go (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='DIR', help='write the predicted label maps there')
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='write painted predictions there')
    parser.add_argument('--wait-time', type=float, default=2.0, help='seconds between windows')
    parser.add_argument('--force', action='store_true', help='write into --out and --show-dir even if they hold files')
    add_cfg_options(parser, '--cfg-options')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation (tta_model, tta_pipeline of the config)'
    )
    parser.add_argument(
        '--vocabulary', metavar='FILE', help="class names instead of the config's: file, list of the suite, or 'a; b=c'"
    )
    parser.add_argument(
        '--task',
        choices=['semantic', 'panoptic', 'instance'],
        help="what to make of a query-based model's masks (default: the config's; needs its task_evaluators)",
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read a checkpoint even if that runs code in it; only for authors you trust',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    parser.add_argument('--verbose', action='store_true', help='show config and environment on the terminal, too')
    add_debug_option(parser)
    return parser.parse_args(argv)


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    args = parse_args(argv)

    from denseclip.engine.launch import TestOptions, test

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = TestOptions(
        work_dir=args.work_dir,
        out=args.out,
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
        overrides=args.cfg_options,
        launcher=args.launcher,
        tta=args.tta,
        vocabulary=args.vocabulary,
        task=args.task,
        amp=args.amp,
        trust=args.trust,
        force=args.force,
        verbose=args.verbose,
    )
    test(args.config, args.checkpoint, options)


if __name__ == '__main__':
    sys.exit(main())
