#!/usr/bin/env python
"""Rewrite VisA as published into the layout that anomalib reads (visa_pytorch)."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='VisA as published (split_csv, CATEGORY/Data)')
    parser.add_argument('target', help='folder to make')
    parser.add_argument('--link', action='store_true', help='symbolic links of pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_visa

    counts = convert_visa(args.source, args.target, link=args.link, force=args.force)
    print(f'{args.target}: ' + ', '.join(f'{count} {name}' for name, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
