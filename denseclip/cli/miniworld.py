"""``denseclip miniworld``: write the procedural data set in the layout of a real one."""

from __future__ import annotations

import argparse
import sys
import time

from denseclip.apis.errors import UserError

LAYOUT_NAMES = ('ade20k', 'coco', 'coco_stuff', 'voc', 'context', 'cityscapes', 'mvtec', 'visa')
"""Known without importing the data sets, so that ``--help`` is quick; a test keeps it equal to theirs."""
HELP = 'write a procedural data set in the layout of a real one'
EPILOG = (
    'The same arguments always give the same files. A run that was stopped goes on when it is started again.\n'
    'example: denseclip miniworld data/miniworld --layout ade20k --count 500'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.set_defaults(lean=True)
    parser.add_argument('out', metavar='OUT', help='folder to write into, the data_root of configs')
    parser.add_argument('--layout', choices=LAYOUT_NAMES, required=True, help='on-disk layout of which data set')
    parser.add_argument(
        '--count',
        type=int,
        default=100,
        help='pictures for training; of each category for mvtec and visa (%(default)s)',
    )
    parser.add_argument('--val-count', type=int, help='pictures for validation or test (default: a fifth of --count)')
    parser.add_argument('--seed', type=int, default=0, help='of the world (%(default)s)')
    parser.add_argument('--size', metavar='HxW', help="height and width, such as 128x192 (default: the layout's)")
    parser.add_argument(
        '--kinds', choices=('all', 'seen'), default='all', help='seen: leave some classes out of the training pictures'
    )
    parser.add_argument(
        '--val-words',
        choices=('held-out', 'seen'),
        default='held-out',
        help='held-out (default): objects of the validation pictures have colours that training captions never name '
        'with them',
    )


def run(args: argparse.Namespace) -> int:
    """Write the data set, with a progress bar on a terminal.

    Raises:
        UserError: The arguments cannot be met, or the folder holds something else.
    """
    from denseclip.cli.progress import track
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip miniworld')
    from denseclip.datasets.miniworld import Writing

    writing = Writing(
        args.layout,
        args.out,
        count=args.count,
        val_count=args.val_count,
        seed=args.seed,
        size=parse_size(args.size),
        kinds=args.kinds,
        val_words=args.val_words,
    )
    if writing.complete:
        sys.stdout.write(f'{args.out} is complete already\n')
        return 0
    start, total = time.perf_counter(), len(writing)
    try:
        for _ in track(writing, total, f'writing {args.layout}'):
            pass
    except OSError as error:
        raise UserError(f"cannot write to '{args.out}': {error.strerror or error}") from error
    except KeyboardInterrupt:
        sys.stderr.write('stopped; the same command goes on from here\n')
        raise
    seconds = time.perf_counter() - start
    speed = total / max(seconds, 1e-9)
    sys.stdout.write(f'{total} pictures in {seconds:.1f} s ({speed:.0f} a second) in {args.out}\n')
    return 0


def parse_size(text: str | None) -> tuple[int, int] | None:
    """``'128x192'`` to (128, 192); one number means a square.

    Raises:
        UserError: It is something else.
    """
    if text is None:
        return None
    parts = text.lower().split('x')
    if not 1 <= len(parts) <= 2 or not all(part.isdecimal() for part in parts):
        raise UserError(f"--size '{text}' is no size; write HEIGHTxWIDTH, such as 128x192")
    return int(parts[0]), int(parts[-1])
