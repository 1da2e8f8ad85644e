"""``denseclip download``: weights of the model zoo."""

from __future__ import annotations

import argparse

HELP = 'fetch weights of the model zoo, checked and resumable'
EPILOG = (
    'examples:\n'
    '  denseclip download --list\n'
    '  denseclip download denseclip_fpn_clip-r50_80k_ade20k-512x512\n'
    'A download that was stopped goes on when it is started again.'
)


_UNKNOWN = 'the zoo knows no sum to compare with; give one as --sha256 if you do'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('name', nargs='?', metavar='NAME', help='model of the zoo')
    parser.add_argument('--list', action='store_true', help='show all names')
    parser.add_argument('--out', metavar='FILE', help='file to make (default: checkpoints/NAME.pth)')
    parser.add_argument('--sha256', metavar='DIGITS', help='what the file must sum to, where the zoo does not say it')
    parser.add_argument('--force', action='store_true', help='fetch anew, over a file that is there')


def run(args: argparse.Namespace) -> int:
    """Fetch, check, and say what to type next."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    from denseclip.apis.errors import UserError
    from denseclip.apis.zoo import find_model, get_model, zoo_models
    from denseclip.cli.progress import counting

    if args.list:
        models = zoo_models()
        room = max(map(len, models))
        for name, model in models.items():
            print(f'{name:<{room}}  {model.state:<23}  {model.licence}')
        return 0
    if args.name is None:
        raise UserError('name a model: denseclip download NAME; denseclip download --list shows them.')
    model = find_model(args.name)
    with counting('download', DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as progress:
        found = get_model(args.name, args.out, force=args.force, progress=progress, sha256=args.sha256)
    print(f'{found.path}  {found.size / 1e6:.1f} MB')
    known = 'as the zoo says' if model.sha256 else 'as you say' if found.checked else _UNKNOWN
    print(f'sha256 {found.sha256} ({known})')
    print(f'licence: {model.licence}')
    if model.config:
        print(f'next: denseclip test {model.config.removeprefix("configs/").removesuffix(".py")} {found.path}')
    return 0
