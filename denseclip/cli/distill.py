"""``denseclip distill``: a small model of fixed classes learns from a teacher's labels."""

from __future__ import annotations

import argparse

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import add_compute_options
from denseclip.cli.programs import at_least
from denseclip.files.names import shown

HELP = 'train a small model of fixed classes on the labels that a teacher wrote'
EPILOG = (
    'example:\n'
    '  denseclip label shots/ --words "road; car; sky" --out maps --to masks\n'
    '  denseclip distill maps --out student'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.set_defaults(lean=True)
    parser.add_argument('data', metavar='DATA', help="what 'denseclip label --to masks' wrote, or a config to train on")
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for config, training and weights')
    parser.add_argument('--base', metavar='CONFIG', help='config of the student (default: EfficientNet-Lite0, FPN)')
    parser.add_argument('--iterations', type=at_least(1), metavar='N', help="steps (default: the config's)")
    parser.add_argument(
        '--min-confidence',
        type=float,
        default=0.0,
        metavar='P',
        help='pixels that the teacher is less sure of teach nothing, 0..1; needs label --confidences',
    )
    parser.add_argument(
        '--trunk',
        metavar='FILE',
        help="begin with the trunk of this checkpoint, such as the teacher's (default: ImageNet)",
    )
    parser.add_argument(
        '--val-share', type=float, default=0.1, help='part that is held out, where nothing is split (%(default)s)'
    )
    parser.add_argument('--resume', action='store_true', help='go on with a training that was stopped')
    parser.add_argument('--seed', type=int, help='seed of the run')
    add_compute_options(parser, training=True)
    add_cfg_options(parser, '--cfg-options')


def run(args: argparse.Namespace) -> int:
    """Train, and say what came of it."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip distill')
    from denseclip.apis.distill import distill

    made = distill(
        args.data,
        args.out,
        base=args.base,
        iterations=args.iterations,
        least=args.min_confidence,
        trunk=args.trunk,
        val_share=args.val_share,
        resume=args.resume,
        seed=args.seed,
        overrides=args.cfg_options,
        precision=args.precision,
        layout=args.layout,
        compile=args.compile,
    )
    scores = ', '.join(f'{name} {value:.2f}' for name, value in made.scores.items())
    print(f'student of {len(made.classes)} classes: {shown(made.weights)}, {made.weights.stat().st_size / 1e6:.1f} MB')
    print(f"against the teacher's labels of held-out pictures: {scores}" if scores else 'no held-out pictures')
    files = f'--config {shown(made.config)} --weights {shown(made.weights)}'
    print(f'next: denseclip segment street.jpg {files} --out results')
    return 0
