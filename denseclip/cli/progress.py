"""Signs of life on a terminal; nothing where the output is a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from denseclip.cli.output import plain, shown_output
from denseclip.cli.talk import is_quiet
from denseclip.files.progress import Progress as Count

Item = TypeVar('Item')


def _progress(*columns: ProgressColumn) -> Progress:
    console = Console(file=plain(sys.stderr))
    # What is printed to a terminal meanwhile goes above the bar; a redirected standard output stays as it is.
    return Progress(
        SpinnerColumn(),
        TextColumn('{task.description}', markup=False),
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=False,
        disable=is_quiet() or not console.is_terminal,
    )


@contextmanager
def busy(description: str) -> Iterator[None]:
    """Show a spinner and the time while one long step runs."""
    with _progress() as progress, shown_output():
        progress.add_task(description, total=None)
        yield


@contextmanager
def counting(description: str, *columns: ProgressColumn) -> Iterator[Count]:
    """Show how much is done of some work that says so itself.

    Args:
        description: What is done.
        *columns: How the numbers are shown; by default as pictures are counted.

    Yields:
        A function that takes how much is done and how much there is; None: not known.
    """
    shown = columns or (MofNCompleteColumn(), TimeRemainingColumn())
    with _progress(BarColumn(), *shown) as progress, shown_output():
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def track(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Pass items on and show how many are done."""
    with counting(description) as show:
        show(0, total)
        for done, item in enumerate(items, start=1):
            yield item
            show(done, total)
