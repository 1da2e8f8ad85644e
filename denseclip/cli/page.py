"""``denseclip page``: a page that labels photographs in the browser alone."""

from __future__ import annotations

import argparse

HELP = 'build a page that labels photographs by words in the browser alone, without a server'
EPILOG = (
    'examples:\n'
    '  denseclip export --precision fp16 --calibrate shots/ --out exported\n'
    '  denseclip page exported --out page\n'
    '  python -m http.server --directory page'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('export', metavar='EXPORT', help="a folder that 'denseclip export' has written")
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the page')
    parser.add_argument(
        '--text', choices=('int8', 'fp32'), default='int8', help='precision of the text side (default: %(default)s)'
    )
    parser.add_argument(
        '--libraries',
        metavar='DIR',
        help='a folder node_modules that holds onnxruntime-web and @huggingface/tokenizers (default: npm fetches them)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite an earlier page')


def run(args: argparse.Namespace) -> int:
    """Build it, and say how large it is and how to look at it."""
    from denseclip.browser import build_page
    from denseclip.cli.progress import busy
    from denseclip.files.names import shown

    with busy('building the page'):
        page = build_page(args.export, args.out, args.text, args.libraries, args.force)
    print(page.describe())
    print(f'next: python -m http.server --directory {shown(page.folder)}, and open http://127.0.0.1:8000/')
    print('Any host of static files serves it to others.')
    return 0
