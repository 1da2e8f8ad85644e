#!/usr/bin/env python
"""Make the panoptic files of ADE20K (COCO's format) beside its own."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='ADEChallengeData2016 with images, annotations and annotations_instance')
    parser.add_argument('--splits', nargs='+', choices=['train', 'val'], default=['val'], help='default: val')
    parser.add_argument('--force', action='store_true', help='replace earlier panoptic files')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_ade20k_panoptic

    counts = convert_ade20k_panoptic(args.root, splits=args.splits, force=args.force, num_workers=args.num_workers)
    print(f'{args.root}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
