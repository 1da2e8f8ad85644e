#!/usr/bin/env python
"""Time a DenseCLIP detector's training step against the same step in the order of the authors' code.

python tools/benchmark_train_step.py [CONFIG] [--size 512] [--batch 2] [--repeats N] [--threads N]

Weights and pictures are random, since time does not depend on them. Both orders run in one process, in turn; medians
and their ratio are printed, and the exit code is 1 if the two losses differ by more than 1e-5 of their value.
"""

import sys
from functools import partial
from pathlib import Path

from mmengine.registry import MODELS, DefaultScope

import denseclip  # noqa: F401  (registers the models)
from denseclip.cli.programs import add_debug_option, program
from denseclip.engine.benchmark.machine import describe, set_up
from denseclip.engine.config import load_config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.benchmark.step_table import print_steps, step_options
from studies.benchmark.train_step import PARTS, compare_steps

DEFAULT = 'configs/denseclip/denseclip_retinanet_clip-r50_fpn_1x_coco-1333x800.py'


@program
def main(argv: list[str]) -> int:
    """Run the measurement."""
    parser = step_options(__doc__, DEFAULT, 'a detector', size=512, batch=2, repeats=5)
    add_debug_option(parser)
    args = parser.parse_args(argv)
    set_up(args.device, args.threads)
    config = load_config(args.config)
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmdet'):
        model = MODELS.build(config.model).to(args.device)
    print(f'{describe(args.device)}; {args.batch} x {args.size} x {args.size}, median of {args.repeats}')
    sizes = dict(size=args.size, batch=args.batch, repeats=args.repeats)
    worst = print_steps(partial(compare_steps, model, **sizes), PARTS, each=args.each)
    return int(worst > 1e-5)


if __name__ == '__main__':
    sys.exit(main())
