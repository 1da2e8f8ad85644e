"""Options that several commands share."""

from __future__ import annotations

import argparse


def add_config(parser: argparse.ArgumentParser, about: str = 'config file') -> None:
    """Give a parser the word ``CONFIG``."""
    parser.add_argument('config', help=f'{about}, or the name of one that comes with the package (denseclip config)')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Give a parser what runs over several processes and with a log take."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    if parser.get_default('verbose') is None:  # as a word of `denseclip` it has that option already
        parser.add_argument('--verbose', action='store_true', help='show config and environment on the terminal, too')


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--trust``."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read a checkpoint even if that runs code in it; only for authors you trust',
    )
