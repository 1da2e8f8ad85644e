"""Places in source files, as PyTorch notes them of every operator that it defines in Python.

``inspect.getframeinfo``, which it asks, reads the file and looks for its module among all that are loaded, for a name
and a number that the frame has itself: 0.1 s of a start go there.
"""

from __future__ import annotations

import sys


def install() -> None:
    """Let ``torch._library.utils`` answer quickly, if it still has the function."""
    utils = sys.modules['torch._library.utils']
    code = getattr(getattr(utils, 'get_source', None), '__code__', None)
    if code is not None and code.co_varnames[: code.co_argcount] == ('stacklevel',):
        utils.get_source = get_source  # type: ignore[attr-defined]


def get_source(stacklevel: int) -> str:
    """Where a caller is: ``file:line``.

    Args:
        stacklevel: 1 is the caller, 2 who called it, and so on.
    """
    frame = sys._getframe(stacklevel)
    return f'{frame.f_code.co_filename}:{frame.f_lineno}'
