"""The two doors to a command: a word of ``denseclip``, and a script of its own."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from denseclip.cli.programs import add_debug_option


class Command(Protocol):
    """What a module of a command has."""

    HELP: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Say which words and options the command takes."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the result is the exit code."""


def add_command(commands: Any, common: argparse.ArgumentParser, command: Command, name: str) -> None:
    """Make a command a word of ``denseclip``.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned.
        common: Options of all commands.
        command: The module.
        name: The word.
    """
    parser = commands.add_parser(name, parents=[common], help=command.HELP, **_layout(command))
    command.add_options(parser)
    parser.set_defaults(run=command.run)


def run_alone(command: Command, argv: Sequence[str], script: str) -> int:
    """Run a command as a script of its own.

    Args:
        command: The module.
        argv: Arguments after the script's name.
        script: Name of the script in ``tools``.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog=script, **_layout(command))
    command.add_options(parser)
    add_debug_option(parser)
    args = parser.parse_args(argv)
    args.typed = shlex.join(['python', f'tools/{parser.prog}', *argv])
    if getattr(args, 'lean', False):
        lean_script(script)
    return command.run(args)


def lean_script(script: str) -> None:
    """Start lean, in a process of the script's own.

    Args:
        script: Its name.
    """
    own = getattr(sys.modules['__main__'], '__file__', None)
    if own is not None and Path(own).name == script:
        import_module('denseclip.compat.lean').start_lean()


def _layout(command: Command) -> dict[str, Any]:
    """How the help looks: the module's ``DESCRIPTION`` and ``EPILOG`` are printed as they stand."""
    about = getattr(command, 'DESCRIPTION', None) or f'{command.HELP[0].upper()}{command.HELP[1:]}.'
    return {
        'description': about,
        'epilog': getattr(command, 'EPILOG', None),
        'formatter_class': argparse.RawDescriptionHelpFormatter,
    }
