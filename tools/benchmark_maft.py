#!/usr/bin/env python
"""Measure MAFT+'s training step and its mask-aware loss against the order and the form of the authors' code.

python tools/benchmark_maft.py [CONFIG] [--size 320] [--batch 1] [--segments 20] [--repeats N] [--threads N]

Weights, pictures and segments are random, since time does not depend on them. Both orders run in one process, in turn;
medians and their ratio are printed. The loss's memory is the peak of a process of its own. The exit code is 1 if
results differ by more than 1e-5 (of their value, for the whole step).
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from mmengine.registry import MODELS, DefaultScope

import denseclip  # noqa: F401  (registers the models)
from denseclip.cli.programs import add_debug_option, at_least, program
from denseclip.engine.benchmark.machine import describe, set_up
from denseclip.engine.config import load_config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.benchmark.maft import PARTS, compare_maft_steps, loss_difference, loss_memory, use_random_text
from studies.benchmark.step_table import print_steps, step_options

DEFAULT = 'configs/maft/maft-plus_convnext-l_55k_ade20k-1333x800.py'


@program
def main(argv: list[str]) -> int:
    """Run the measurements."""
    parser = step_options(__doc__, DEFAULT, 'MAFT+', size=320, batch=1, repeats=3)
    parser.add_argument('--segments', type=at_least(1), default=20, help='segments per picture (default: %(default)s)')
    add_debug_option(parser)
    args = parser.parse_args(argv)
    set_up(args.device, args.threads)
    worst = max(measure_steps(args), print_loss(args))
    return int(worst > 1e-5)


def measure_steps(args: argparse.Namespace) -> float:
    """Table of training steps; returns the largest relative difference of losses."""
    config = load_config(args.config)
    config.model.clip.pretrained = None
    config.model.drop_path = False  # both orders must do the same
    words, config.model.train_vocabulary = config.model.train_vocabulary, None
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model).to(args.device)
    use_random_text(model, words)
    print(f'{describe(args.device)}; {args.batch} x {args.size} x {args.size}, {args.segments} segments, ', end='')
    print(f'median of {args.repeats}')
    sizes = dict(size=args.size, batch=args.batch, segments=args.segments, repeats=args.repeats)
    return print_steps(partial(compare_maft_steps, model, **sizes), PARTS, each=args.each)


def print_loss(args: argparse.Namespace) -> float:
    """Memory of the mask-aware loss at 20 segments, 100 masks and 256 x 256 pixels; returns the losses' difference."""
    extra = {form: loss_memory(form).extra / 2**20 for form in ('matrix', 'broadcast')}
    difference = loss_difference()
    print('\n| mask-aware loss, 20 x 100 x 256 x 256 | MiB |\n| --- | ---: |')
    for form, size in extra.items():
        print(f'| {form} | {size:.1f} |')
    print(f'ratio {extra["matrix"] / extra["broadcast"]:.3f}, losses differ by {difference:.1e}')
    return difference


if __name__ == '__main__':
    sys.exit(main())
