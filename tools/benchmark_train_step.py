#!/usr/bin/env python
"""Time a DenseCLIP detector's training step against the same step in the order of the authors' code.

python tools/benchmark_train_step.py [CONFIG] [--size 512] [--batch 2] [--repeats N] [--threads N]

Weights and pictures are random, since time does not depend on them. Both orders run in one process, in turn; medians
and their ratio are printed, and the exit code is 1 if the two losses differ by more than 1e-5 of their value.
"""

import argparse
import sys
from pathlib import Path

from mmengine.registry import MODELS, DefaultScope

import denseclip  # noqa: F401  (registers the models)
from denseclip.cli.programs import add_debug_option, at_least, program
from denseclip.engine.benchmark.machine import describe, set_up
from denseclip.engine.config import load_config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.benchmark.train_step import PARTS, compare_steps

DEFAULT = 'configs/denseclip/denseclip_retinanet_clip-r50_fpn_1x_coco-1333x800.py'


@program
def main(argv: list[str]) -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=DEFAULT, help='config of a detector (default: %(default)s)')
    parser.add_argument('--size', type=at_least(1), default=512, help='side of the pictures (default: %(default)s)')
    parser.add_argument('--batch', type=at_least(1), default=2, help='pictures per step (default: %(default)s)')
    parser.add_argument('--repeats', type=at_least(1), default=5, help='rounds that count (default: %(default)s)')
    parser.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    parser.add_argument('--each', action='store_true', help="also measure each of the reference's parts alone")
    add_debug_option(parser)
    args = parser.parse_args(argv)
    set_up(args.device, args.threads)
    config = load_config(args.config)
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmdet'):
        model = MODELS.build(config.model).to(args.device)
    print(f'{describe(args.device)}; {args.batch} x {args.size} x {args.size}, median of {args.repeats}')
    print('| reference does besides | ours, ms | reference, ms | ours / reference | losses differ by |')
    print('| --- | ---: | ---: | ---: | ---: |')
    wanted = [tuple(PARTS), *([(part,) for part in PARTS] if args.each else [])]
    worst = 0.0
    for parts in wanted:
        found = compare_steps(model, size=args.size, batch=args.batch, repeats=args.repeats, parts=parts)
        ours, theirs = (found.samples[name].median * 1e3 for name in ('ours', 'reference'))
        print(f'| {", ".join(parts)} | {ours:.0f} | {theirs:.0f} | {found.ratio:.3f} | {found.difference:.1e} |')
        worst = max(worst, found.difference)
    return int(worst > 1e-5)


if __name__ == '__main__':
    sys.exit(main())
