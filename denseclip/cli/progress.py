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


def track(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Pass items on and show how many are done."""
    with _progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress, shown_output():
        task = progress.add_task(description, total=total)
        for item in items:
            yield item
            progress.advance(task)
