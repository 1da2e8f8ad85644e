"""What all programs of the suite share: errors are one line, exit codes mean the same, ``--debug`` shows more.

Exit codes: 0 for done, 1 where a program's answer is "no" (an audit with findings, a comparison that differs), 2 for
what could not be done, 130 after Ctrl-C, 143 after a request to terminate.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from denseclip.cli.output import shown_output
from denseclip.cli.sentences import one_line
from denseclip.files.scratch import exit_on_signals

DEBUG = '--debug'
EXIT_ERROR = 2
"""Exit code of a program that could not do everything."""
EXIT_INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""


class ProgramExit(SystemExit):
    """End of a program that could not do its work.

    The text is what has been printed already; ``code`` is the exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def add_debug_option(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--debug``, which :func:`program` obeys."""
    parser.add_argument(DEBUG, action='store_true', help='show a traceback when something fails')


class FormerName(argparse.Action):
    """An option's name of the release before: works as the new one and says so, in one line.

    Args:
        new: The new name, whose place the values take.
        **settings: As for the new option.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, new: str, **settings: Any) -> None:
        self.new = new
        settings['help'] = argparse.SUPPRESS
        super().__init__(option_strings, new.lstrip('-').replace('-', '_'), **settings)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the values under the new name."""
        sys.stderr.write(
            f'{parser.prog}: warning: {option_string} is called {self.new} now; the former name goes with '
            'the next release\n'
        )
        setattr(namespace, self.dest, values)


def at_least(least: int) -> Callable[[str], int]:
    """Type of an option that takes a whole number, for ``argparse``.

    Args:
        least: The smallest that makes sense.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f'takes a whole number of at least {least}, got {text!r}')
        return value

    return read


def program(main: Callable[[list[str]], int | None]) -> Callable[..., int]:
    """Turn a function into the main function of a script.

    The result takes the arguments after the program's name (by default those of the process) and returns the exit
    code. What cannot be done is one line on standard error, and :class:`ProgramExit`; under ``torchrun`` every process
    says its own line. ``--debug`` among the arguments lets errors through.

    Args:
        main: Takes the arguments; returns the exit code, or None for 0.
    """
    name = Path(main.__code__.co_filename).name

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        arguments = list(sys.argv[1:] if argv is None else argv)
        with shown_output(), exit_on_signals():
            try:
                code = main(arguments) or 0
                sys.stdout.flush()
            except (Exception, KeyboardInterrupt) as error:
                if DEBUG in arguments and isinstance(error, Exception):
                    raise
                raise ProgramExit(*explain(error, name)) from error
        return code

    return run


def explain(error: BaseException, name: str) -> tuple[str, int]:
    """Say on standard error why a program ends.

    Args:
        error: What ended it.
        name: Of the program.

    Returns:
        The line, and the exit code.
    """
    if isinstance(error, BrokenPipeError):
        _discard_output()
        line, code = f'{name}: whoever read the output has stopped reading', EXIT_ERROR
    elif isinstance(error, KeyboardInterrupt):
        line, code = f'{name}: {_rank()}interrupted', EXIT_INTERRUPTED
    else:
        line, code = f'{name}: error: {_rank()}{one_line(error)}', EXIT_ERROR
    with suppress(BrokenPipeError):
        sys.stderr.write(line + '\n')  # one write: lines of several processes do not mix
        sys.stderr.flush()
    return line, code


def report_failures(failures: Sequence[Exception], count: int) -> int:
    """Say on standard error which of many pictures could not be read.

    Args:
        failures: One error for each of them.
        count: Number of pictures in all.

    Returns:
        Exit code: 0 without failures.

    Raises:
        Exception: The error itself if there was only one picture.
    """
    if not failures:
        return 0
    if count == 1:
        raise failures[0]
    head = f'\ndenseclip: error: {len(failures)} of {count} pictures failed:'
    sys.stderr.write('\n'.join([head, *(f'  {one_line(failure)}' for failure in failures)]) + '\n')
    return EXIT_ERROR


def _rank() -> str:
    """Which of several processes speaks; nothing where there is one."""
    for world, rank in (('WORLD_SIZE', 'RANK'), ('SLURM_NTASKS', 'SLURM_PROCID')):
        if os.environ.get(world, '1') != '1' and rank in os.environ:
            return f'process {os.environ[rank]} of {os.environ[world]}: '
    return ''


def _discard_output() -> None:
    """Keep the interpreter from failing once more when it flushes standard output at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
