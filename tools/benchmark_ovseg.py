#!/usr/bin/env python
"""Measure OVSeg's second stage: cutting masks out, embedding them, merging them, each against the plain way.

python tools/benchmark_ovseg.py [--model ViT-B-32] [--masks 100] [--encoded 32] [--classes 847] [--out FILE]

Weights and masks are random, since time does not depend on them. Versions run in one process, in turn, and the ratio
of their medians is printed; the exit code is 1 if results differ by more than 1e-5.
"""

import argparse
import sys
from pathlib import Path

import denseclip  # noqa: F401  (registers the models, also in the processes that measure memory)
from denseclip.cli.programs import add_debug_option, at_least, program

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.benchmark.regions import RegionOptions, benchmark_regions


@program
def main(argv: list[str]) -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = RegionOptions()
    parser.add_argument('--model', default=default.model, help='open_clip architecture (default: %(default)s)')
    parser.add_argument(
        '--masks', type=at_least(1), default=default.masks, help='of the picture (default: %(default)s)'
    )
    parser.add_argument(
        '--encoded', type=at_least(1), default=default.encoded, help='masks embedded (default: %(default)s)'
    )
    parser.add_argument(
        '--classes', type=at_least(1), default=default.classes, help='of the merge (default: %(default)s)'
    )
    parser.add_argument(
        '--size', type=at_least(1), nargs=2, default=default.size, metavar=('H', 'W'), help='of the picture'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=default.batch_size, help='(default: %(default)s)')
    parser.add_argument('--repeats', type=at_least(1), default=5, help='rounds that count (default: %(default)s)')
    parser.add_argument('--no-memory', action='store_true', help='leave out the peak memory of the merge')
    parser.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    parser.add_argument('--out', metavar='FILE', help='also write the report there, as .json or .md')
    add_debug_option(parser)
    args = parser.parse_args(argv)
    fields = ('model', 'masks', 'encoded', 'classes', 'batch_size', 'threads', 'device')
    options = RegionOptions(size=tuple(args.size), **{name: getattr(args, name) for name in fields})
    report = benchmark_regions(options, repeats=args.repeats, memory=not args.no_memory)
    report.command = ' '.join(['python', *sys.argv])
    print(report.markdown())
    if args.out:
        report.write(args.out)
    return 0 if report.equal else 1


if __name__ == '__main__':
    sys.exit(main())
