#!/usr/bin/env python
"""Rewrite VisA as published into the layout that anomalib reads (visa_pytorch)."""

import argparse
import sys

from denseclip.datasets.converters import ConversionError, convert_visa


def main() -> int:
    """Run the converter; exit code 1 when the source has problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='VisA as published (split_csv, CATEGORY/Data)')
    parser.add_argument('target', help='folder to make')
    parser.add_argument('--link', action='store_true', help='symbolic links of pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    args = parser.parse_args()
    try:
        counts = convert_visa(args.source, args.target, link=args.link, force=args.force)
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.target}: ' + ', '.join(f'{count} {name}' for name, count in counts.items()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
