"""``denseclip config``: print a whole config, or list those that come with the package."""

from __future__ import annotations

import argparse

from denseclip.cli.cfg_options import add_cfg_options

HELP = 'print a whole config with everything it inherits, or list those that come with the package'
EPILOG = (
    'examples:\n'
    '  denseclip config                                   names of all that come with the package\n'
    '  denseclip config --list miniworld                  those with a word in their name\n'
    '  denseclip config miniworld/clip_vit-xs8_miniworld-64x64 > mine.py'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('config', nargs='?', metavar='CONFIG', help='config file, or the name of one that is listed')
    parser.add_argument(
        '--list', nargs='?', const='', metavar='WORD', help='list all, or those with WORD in their name'
    )
    add_cfg_options(parser, '--cfg-options')


def run(args: argparse.Namespace) -> int:
    """Print."""
    from denseclip.apis.errors import UserError
    from denseclip.files.shipped import config_file, shipped_configs

    if args.config is None:
        names = [name for name in shipped_configs() if (args.list or '') in name]
        if not names:
            raise UserError(f"no config that comes with the package has '{args.list or ''}' in its name.")
        print('\n'.join(names))
        return 0
    if args.list is not None:
        raise UserError('--list lists names; leave it or the config out.')
    from denseclip.compat.versions import require_host_stack

    require_host_stack('reading a config')
    from denseclip.engine.config import load_config

    text = load_config(args.config, args.cfg_options, whole=False).pretty_text
    print(f'# {config_file(args.config)}\n{text}'.rstrip())
    return 0
