#!/usr/bin/env python
"""Turn the label ids of Cityscapes into train ids (19 classes, 255 = ignored)."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with leftImg8bit and gtFine')
    parser.add_argument('target', help='folder to make, usually data/cityscapes')
    parser.add_argument(
        '--splits', nargs='+', choices=['train', 'val'], default=['train', 'val'], help='default: train val'
    )
    parser.add_argument('--link', action='store_true', help='symbolic links to the pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_cityscapes

    counts = convert_cityscapes(
        args.source,
        args.target,
        splits=args.splits,
        link=args.link,
        force=args.force,
        num_workers=args.num_workers,
    )
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
