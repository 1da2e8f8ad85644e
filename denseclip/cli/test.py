"""``denseclip test``: evaluate a checkpoint."""

from __future__ import annotations

import argparse
import os

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import add_compute_options, add_config, add_launcher, add_trust

HELP = 'evaluate a checkpoint on the test data of its config'
__test__ = False  # no test module, whatever pytest thinks of the name


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    add_config(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help=".safetensors, .pth of ours or MMEngine, the authors' file, a folder; none for models without training",
    )
    parser.add_argument('--work-dir', help='where logs go (default: work_dirs/<config name>)')
    parser.add_argument('--out', metavar='DIR', help='write the predicted label maps there')
    parser.add_argument('--show', action='store_true', help='show each prediction in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='write painted predictions there')
    parser.add_argument('--wait-time', type=float, default=2.0, help='seconds between windows')
    parser.add_argument('--force', action='store_true', help='write into --out and --show-dir even if they hold files')
    add_cfg_options(parser, '--cfg-options')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation (tta_model, tta_pipeline of the config)'
    )
    parser.add_argument(
        '--vocabulary', metavar='FILE', help="class names instead of the config's: file, list of the suite, or 'a; b=c'"
    )
    parser.add_argument(
        '--head', metavar='FILE', help="a head that 'denseclip adapt' made of labelled pictures for this model"
    )
    parser.add_argument('--boundary', action='store_true', help='also take boundary IoU (mBIoU) of label maps')
    parser.add_argument(
        '--task',
        choices=['semantic', 'panoptic', 'instance'],
        help="what to make of a query-based model's masks (default: the config's; needs its task_evaluators)",
    )
    parser.add_argument('--amp', action='store_true', help='short for --precision fp16 on a GPU, bf16 on a CPU')
    add_compute_options(parser)
    add_trust(parser)
    add_launcher(parser)
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('testing')
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
        head=args.head,
        boundary=args.boundary,
        task=args.task,
        amp=args.amp,
        precision=args.precision,
        layout=args.layout,
        compile=args.compile,
        trust=args.trust,
        force=args.force,
        verbose=args.verbose,
    )
    test(args.config, args.checkpoint, options)
    return 0
