"""Errors that a user can cure."""

from __future__ import annotations


class UserError(ValueError):
    """Something in the input is wrong; the message is one line that names the thing and the cure.

    The command line prints the message alone, without a traceback.
    """
