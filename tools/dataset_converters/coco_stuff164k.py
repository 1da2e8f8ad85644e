#!/usr/bin/env python
"""Turn the pixel maps of COCO-Stuff 164k into the train ids that mmseg reads (171 classes, 255 = ignored)."""

import argparse
import sys

from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> None:
    """Run the converter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with images/SPLIT/*.jpg and the pixel maps annotations/SPLIT/*.png')
    parser.add_argument('target', help='folder to make, usually data/coco_stuff164k')
    parser.add_argument(
        '--splits', nargs='+', choices=['train2017', 'val2017'], default=['val2017'], help='default: val2017'
    )
    parser.add_argument('--link', action='store_true', help='symbolic links to the pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace the target when it exists')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.converters import convert_coco_stuff

    counts = convert_coco_stuff(
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
