"""Errors that a user can cure, and how the programs say them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from denseclip.apis.sentences import one_line

EXIT_ERROR = 2
"""Exit code of a program that could not do everything."""
EXIT_INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended."""


class UserError(ValueError):
    """Something in the input is wrong; the message is one line that names the thing and the cure.

    The command line prints the message alone, without a traceback.
    """


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


def check_share(name: str, value: float | None) -> None:
    """Refuse an option that is no number in 0..1; None is no option.

    Raises:
        UserError: Then.
    """
    if value is not None and not 0 <= value <= 1:
        raise UserError(f'{name} is {value:g}; it must be between 0 and 1.')
