"""``denseclip new-dataset``: a ready config for somebody's own data."""

from __future__ import annotations

import argparse

from denseclip.cli.programs import EXIT_ERROR
from denseclip.files.names import shown

HELP = 'write a config for your own data and look through it'
EPILOG = 'example: denseclip new-dataset data/mine --out mine.py --classes "sky; building = house; pole"'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.set_defaults(lean=True)
    parser.add_argument(
        'folder',
        metavar='FOLDER',
        help='boxes (COCO, VOC-XML, YOLO, labelme, CVAT, Datumaro, Label Studio, FiftyOne) or label maps in folders',
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='config to write, such as mine.py')
    parser.add_argument(
        '--classes',
        metavar='TEXT',
        help='words of the classes in the order of their ids, or the path of a list; needed for label maps',
    )
    parser.add_argument('--base', metavar='CONFIG', help='config to start from (default: one for two CPU cores)')
    parser.add_argument(
        '--converted', metavar='DIR', help='folder for files that have to be made (default: FOLDER_coco or FOLDER_maps)'
    )
    parser.add_argument('--kind', choices=['boxes', 'maps'], help='what to read where a folder holds both')
    parser.add_argument(
        '--ids', type=int, nargs='+', metavar='ID', help='label maps: id of each class in the order of the words'
    )
    parser.add_argument(
        '--ignore', nargs='+', default=[], metavar='ID', help='label maps: ids that are no class, such as 11'
    )
    parser.add_argument(
        '--colors',
        default='auto',
        metavar='NAME',
        help='label maps of colours: the set whose colours they have (camvid, camvid11, cityscapes, voc); auto '
        'reads a list beside them or takes the one set that has all of them (%(default)s)',
    )
    parser.add_argument('--reduce-zero-label', action='store_true', help='label maps: 0 is no class (--ignore 0)')
    parser.add_argument(
        '--val-share', type=float, default=0.2, help='part to validate on, where nothing is split yet (%(default)s)'
    )
    parser.add_argument(
        '--crowds',
        choices=('auto', 'keep', 'objects'),
        default='auto',
        help='objects marked iscrowd=1, which training and scores leave out: auto takes the mark off where a class has '
        'nothing else, objects everywhere, keep nowhere (%(default)s)',
    )
    parser.add_argument(
        '--corners',
        choices=('auto', '0', '1'),
        default='auto',
        help='the first pixel of VOC-XML files: 0 (LabelImg, Datumaro) or 1 (VOC); auto looks into them (%(default)s)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite the config and made annotation files')


def run(args: argparse.Namespace) -> int:
    """Write the config, print what was found, what is wrong with it, and what to type next."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip new-dataset')
    from denseclip.apis.new_dataset import new_dataset, typed_classes
    from denseclip.cli.progress import counting

    words, notes = typed_classes(args.classes)
    for note in notes:
        print(f'note: {shown(note)}')
    with counting('looking at labels') as progress:
        made = new_dataset(
            args.folder,
            args.out,
            classes=words,
            base=args.base,
            converted=args.converted,
            val_share=args.val_share,
            force=args.force,
            crowds=args.crowds,
            corners=args.corners,
            kind={'maps': 'label maps'}.get(args.kind, args.kind),
            ids=args.ids or (),
            ignore=[*args.ignore, *(['0'] if args.reduce_zero_label else [])],
            colors=args.colors,
            progress=progress,
        )
    print(made.vocabulary.describe())
    for note in made.notes:
        print(f'note: {shown(note)}')
    for split, report in made.reports.items():
        print(f'\n== {split} ==\n{report.render()}')
        if split in made.perfect:
            print(made.perfect[split].render())
    if 'test' not in made.data.splits:
        print('\nno test pictures: the config tests on those to validate on')
    print(f'\nwritten: {shown(made.config)}')
    if not made.ok:
        print(f'next: mend the data, then denseclip check {shown(made.config)}')
        return EXIT_ERROR
    print(f'next: denseclip train {shown(made.config)}')
    return 0
