#!/usr/bin/env python
"""Turn a checkout of github.com/Shenggan/BCCD_Dataset into COCO's layout, where the configs look for it."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkout of BCCD_Dataset, or its folder BCCD')
    parser.add_argument('target', help='folder to make, usually data/BCCD')
    parser.add_argument('--link', action='store_true', help='symbolic links instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters.voc_boxes import convert_bccd

    counts = convert_bccd(args.source, args.target, link=args.link, force=args.force)
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.images.items()))
    print(', '.join(f'{count} x {name}' for name, count in counts.boxes.items()))
    for box in counts.dropped:
        print(f'left out, no width or height: {box}')


if __name__ == '__main__':
    sys.exit(main())
