#!/usr/bin/env python
"""Rewrite the Magnetic-tile defect set into the layout of MVTec AD."""

import argparse
import sys

from denseclip.datasets.converters import ConversionError, convert_magnetic_tile


def main() -> int:
    """Run the converter; exit code 1 when the source has problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder of MT_Free, MT_Crack ...')
    parser.add_argument('target', help='folder to make')
    parser.add_argument('--link', action='store_true', help='symbolic links of pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    args = parser.parse_args()
    try:
        counts = convert_magnetic_tile(args.source, args.target, link=args.link, force=args.force)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.target}: ' + ', '.join(f'{count} {name}' for name, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
