"""How much a command says, and where: results for people, lines of JSON for programs, nothing, or more."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

_quiet = False
_verbose = False


@contextmanager
def talking(quiet: bool = False, verbose: bool = False, as_json: bool = False) -> Iterator[TextIO]:
    """Keep a command to what was asked for while it runs.

    Args:
        quiet: Nothing but errors.
        verbose: Also what is loaded, how long it takes, and what the host stack logs.
        as_json: Standard output belongs to lines of JSON; what else is printed goes to standard error.

    Yields:
        Where lines of JSON go.
    """
    global _quiet, _verbose
    before, _quiet, _verbose = (_quiet, _verbose), quiet, verbose and not quiet
    try:
        with ExitStack() as stack:
            out = sys.stdout
            stack.enter_context(warnings.catch_warnings())
            warnings.showwarning = _one_line_warning
            if quiet:
                warnings.simplefilter('ignore')
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, 'w', encoding='utf-8'))))  # noqa: PTH123
            elif as_json:
                stack.enter_context(redirect_stdout(sys.stderr))
            yield out
    finally:
        _quiet, _verbose = before


def emit(out: TextIO, content: dict[str, Any]) -> None:
    """Write a line of JSON, in ASCII: no terminal or encoding changes it."""
    import json

    out.write(json.dumps(content) + '\n')
    out.flush()


def is_quiet() -> bool:
    """Whether the running command says nothing but errors."""
    return _quiet


def is_verbose() -> bool:
    """Whether the running command says more."""
    return _verbose


def remark(text: str) -> None:
    """Say something on standard error that only those who want more are told."""
    if _verbose:
        sys.stderr.write(f'denseclip: {text}\n')


def note_left_out(items: Iterable[str], *, deep: bool = False) -> None:
    """Say how many pictures in folders are of kinds that are not read.

    Args:
        items: What the user named; only folders count.
        deep: Whether their folders are looked into, too.
    """
    from denseclip.files.names import shown
    from denseclip.files.pictures import left_out

    for folder in map(Path, items):
        line = left_out(folder, deep=deep) if folder.is_dir() else ''
        if line:
            print(f'note: {shown(line)}')


def use_host(command: str) -> None:
    """Make the host stack ready for a command, and let it log what was asked for.

    Raises:
        ImportError: If it is not installed; the message says how to install it.
    """
    from denseclip.compat.versions import require_host_stack

    require_host_stack(command)
    import logging

    from mmengine.logging import MMLogger

    MMLogger.get_current_instance().setLevel(logging.INFO if _verbose else logging.WARNING)


def _one_line_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f'denseclip: warning: {" ".join(str(message).split())}\n')
