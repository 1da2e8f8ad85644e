"""Errors that a user can cure, and checks that raise them."""

from __future__ import annotations


class UserError(ValueError):
    """Something in the input is wrong; the message is one line that names the thing and the cure.

    Programs print the message alone, without a traceback.
    """


def check_share(name: str, value: float | None) -> None:
    """Refuse an option that is no number in 0..1; None is no option.

    Raises:
        UserError: Then.
    """
    if value is not None and not 0 <= value <= 1:
        raise UserError(f'{name} is {value:g}; it must be between 0 and 1.')
