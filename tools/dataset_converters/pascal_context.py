#!/usr/bin/env python
"""Make PASCAL Context (59 classes and background, or all 459) from VOC2010 and the 459-class matrices."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder VOC2010 of the devkit')
    parser.add_argument('matrices', help='folder of the matrices NAME.mat (trainval.tar.gz of the data set)')
    parser.add_argument('target', help='folder to make, usually data/VOCdevkit/VOC2010, or VOC2010_459')
    parser.add_argument('--classes', choices=['59', '459'], default='59', help='which set of classes (default: 59)')
    parser.add_argument('--link', action='store_true', help='symbolic links to the pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_pascal_context, convert_pascal_context459

    convert = convert_pascal_context if args.classes == '59' else convert_pascal_context459
    counts = convert(
        args.source,
        args.matrices,
        args.target,
        link=args.link,
        force=args.force,
        num_workers=args.num_workers,
    )
    print(f'{args.target}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()))


if __name__ == '__main__':
    sys.exit(main())
