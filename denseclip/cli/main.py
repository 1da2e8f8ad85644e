"""The ``denseclip`` command.

Errors that a user can cure are one line on standard error and exit code 2; ``--debug`` shows where they arose.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from denseclip.cli import COMMANDS
from denseclip.cli.doors import add_command
from denseclip.cli.options import common_options
from denseclip.cli.output import shown_output
from denseclip.cli.programs import EXIT_ERROR, explain
from denseclip.cli.talk import talking
from denseclip.files.scratch import exit_on_signals
from denseclip.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after the program's name; by default those of the process.

    Returns:
        Exit code: 0 on success, 2 when something could not be done, 130 after Ctrl-C. A request to terminate
        (SIGTERM) raises ``SystemExit`` with 143 after everything was cleaned up.
    """
    with shown_output(), exit_on_signals():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    """Read the arguments and do what they say."""
    parser = build_parser()
    _complete(parser)
    args = parser.parse_args(argv)
    args.typed = shlex.join(['denseclip', *(sys.argv[1:] if argv is None else argv)])
    if args.run is None:
        parser.print_help(sys.stderr)
        return EXIT_ERROR
    if argv is None and getattr(args, 'lean', False):  # the process is the command's own
        import_module('denseclip.compat.lean').start_lean()
    try:
        with talking(args.quiet, args.verbose, getattr(args, 'json', False)) as args.output:
            return args.run(args)
    except (Exception, KeyboardInterrupt) as error:
        if args.debug and isinstance(error, Exception):
            raise
        return explain(error, 'denseclip')[1]


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    common = common_options()
    parser = argparse.ArgumentParser(
        prog='denseclip', description='Dense prediction with CLIP: pictures, labelled by words.'
    )
    parser.add_argument('--version', action='version', version=f'denseclip {__version__}')
    parser.set_defaults(run=None, debug=False, quiet=False, verbose=False)
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for name, module in COMMANDS.items():
        add_command(commands, common, module, name)
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that asks how a line may go on, where argcomplete is installed (the extra ``completion``)."""
    if '_ARGCOMPLETE' in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


if __name__ == '__main__':
    sys.exit(main())
