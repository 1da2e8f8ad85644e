"""What the fallback answers for everything that has no replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def unavailable(name: str) -> Callable[..., NoReturn]:
    """Make a function that refuses to run and says why.

    Importing mmcv, mmdet or mmseg looks up every operator, so the refusal must come at the call.

    Args:
        name: Function name in ``mmcv._ext``.

    Returns:
        A function that raises :class:`NotImplementedError` for any arguments.
    """

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"mmcv operator '{name}' needs mmcv's compiled extension; the installed mmcv has none and denseclip.compat "
            f'has no replacement for it. Build mmcv 2.1.0 from source (see docs/installation.md); '
            f'the compiled operator is then used automatically.'
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


def get_compiler_version() -> str:
    """Stand in for the compiler that built ``mmcv._ext`` (shown by ``collect_env``)."""
    return 'none (mmcv-lite, operators from denseclip.compat.ops)'


def get_compiling_cuda_version() -> str:
    """Stand in for the CUDA version that built ``mmcv._ext`` (shown by ``collect_env``)."""
    return 'not available'
