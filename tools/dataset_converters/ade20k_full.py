#!/usr/bin/env python
"""Make ADE20K with 847 classes (16-bit label maps) from the full annotation, ADE20K_2021_17_01."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder ADE20K_2021_17_01, with images/ADE/SPLIT/**')
    parser.add_argument('target', help='folder to make, usually data/ade20k_full')
    parser.add_argument(
        '--splits', nargs='+', choices=['training', 'validation'], default=['validation'], help='default: validation'
    )
    parser.add_argument('--link', action='store_true', help='symbolic links to pictures that keep their size')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_ade20k_full

    counts = convert_ade20k_full(
        args.source,
        args.target,
        splits=tuple(args.splits),
        link=args.link,
        force=args.force,
        num_workers=args.num_workers,
    )
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
