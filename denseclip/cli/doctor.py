"""``denseclip doctor``: what is installed, what is usable, and what to type where something is missing."""

from __future__ import annotations

import argparse

HELP = 'say what is installed and what is missing'


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command takes none of its own."""


def run(args: argparse.Namespace) -> int:
    """Print the report; exit code 1 if something is missing."""
    from denseclip.apis.doctor import run_doctor

    return run_doctor()
