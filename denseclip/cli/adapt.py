"""``denseclip adapt``: a head for your own classes from a few labelled pictures."""

from __future__ import annotations

import argparse

from denseclip.cli.options import (
    add_clip_options,
    add_dino_option,
    add_masks_option,
    add_model_options,
    model_arguments,
)
from denseclip.cli.programs import at_least
from denseclip.cli.talk import use_host
from denseclip.files.names import shown

HELP = 'make a head for your own classes from a few labelled pictures'
EPILOG = (
    'example:\n'
    '  denseclip adapt data/mine --out head.safetensors --classes "ground; crack; paint = marking"\n'
    '  denseclip segment shots/ --head head.safetensors --out results'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        'folder', metavar='FOLDER', help="pictures and label maps, in any layout that 'denseclip new-dataset' reads"
    )
    parser.add_argument('--out', required=True, metavar='FILE', help='head to write, such as head.safetensors')
    parser.add_argument(
        '--method',
        choices=('gda', 'rns'),
        default='gda',
        help='gda (%(default)s): class means in closed form, added to the words. rns: Retrieve and Segment, a '
        'classifier for each later picture, of labelled regions that are like it and of the words; half a second each',
    )
    parser.add_argument(
        '--classes',
        metavar='TEXT',
        help='words of the classes in the order of their ids, the name of a list, or the path of one; needed unless a '
        'file beside the label maps says them',
    )
    parser.add_argument('--ids', type=int, nargs='+', metavar='ID', help='id of each class in the order of the words')
    parser.add_argument('--ignore', nargs='+', default=[], metavar='ID', help='ids that are no class, such as 11')
    parser.add_argument('--reduce-zero-label', action='store_true', help='0 is no class (--ignore 0)')
    parser.add_argument('--colors', default='auto', metavar='NAME', help="as for 'denseclip new-dataset' (%(default)s)")
    parser.add_argument(
        '--count', type=at_least(1), metavar='N', help='take so many of the labelled pictures, drawn by --seed'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of --count, of the pixels to choose on, and of the classifiers of rns (%(default)s)',
    )
    add_model_options(parser, 'the bundled model')
    parser.add_argument('--preset', metavar='NAME', help='a training-free method on a CLIP model; the same as --model')
    add_clip_options(parser, 'the preset')
    add_dino_option(parser)
    add_masks_option(parser)
    parser.add_argument('--force', action='store_true', help='overwrite an earlier head')


def run(args: argparse.Namespace) -> int:
    """Make the head, and say what it is made of and what it gains on labelled pixels held out."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip adapt')
    use_host('denseclip adapt')
    from denseclip.apis.adapt import adapt
    from denseclip.apis.catalogue import one_of
    from denseclip.apis.new_dataset import typed_classes
    from denseclip.cli.progress import counting

    words, notes = typed_classes(args.classes)
    for note in notes:
        print(f'note: {shown(note)}')
    name = one_of(**{'--model': args.model, '--preset': args.preset})
    with counting('looking at labelled pictures') as progress:
        made = adapt(
            args.folder,
            args.out,
            model=name,
            classes=words,
            count=args.count,
            seed=args.seed,
            method=args.method,
            force=args.force,
            progress=progress,
            reading={
                'ids': args.ids or (),
                'ignore': [*args.ignore, *(['0'] if args.reduce_zero_label else [])],
                'colors': args.colors,
            },
            **model_arguments(args),
        )
    for note in made.notes:
        print(f'note: {shown(note)}')
    width = max(len(shown(name)) for name in made.cells)
    print(f'{"class":{width}}  labelled cells')
    for label, cells in made.cells.items():
        print(f'{shown(label):{width}}  {cells}' + ('' if cells else '  none: keeps the score of its words'))
    choice = made.choice
    print(
        f'{made.pictures} pictures in {made.seconds:.1f} s; on cells held out: words alone {choice.text_miou:.1f} '
        f'mIoU, with the head {choice.miou:.1f}'
    )
    if choice.alpha == 0:
        print('the words alone were best there: the head changes nothing; label more pictures, or other ones')
    elif choice.alpha is None and 0 < choice.text_miou >= choice.miou:
        print('the words alone were no worse there: leave the head out, or label more pictures, or other ones')
    print(f'written: {shown(args.out)}')
    print(f'next: denseclip segment PICTURE --head {shown(args.out)} --out results')
    return 0
