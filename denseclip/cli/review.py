"""``denseclip review``: look at labels, the most doubtful first, and apply what was decided."""

from __future__ import annotations

import argparse

from denseclip.files.names import shown

HELP = 'look at the labels of a folder, the most doubtful first, and apply decisions'
EPILOG = 'examples:\n  denseclip review labelled\n  denseclip review labelled --apply decisions.json'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('folder', metavar='DIR', help="what 'denseclip label' wrote")
    parser.add_argument('--apply', metavar='FILE', help='decisions that the page has saved')


def run(args: argparse.Namespace) -> int:
    """Write the page, or apply decisions and write it anew."""
    from denseclip.apis.labelling.decisions import apply_file
    from denseclip.apis.labelling.review import write_page

    if args.apply is not None:
        counts = apply_file(args.folder, args.apply)
        listed = ', '.join(f'{action} {counts[action]}' for action in ('keep', 'drop', 'relabel') if action in counts)
        print(f'applied: {listed or "no decision"}')
    path, objects = write_page(args.folder)
    print(f'{objects:,} objects to look at: {shown(path)}')
    return 0
