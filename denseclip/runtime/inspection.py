"""What inspecting pictures needs besides the runtime itself."""

from __future__ import annotations

from importlib.util import find_spec

_PACKAGES = {'cv2': 'opencv-python', 'jinja2': 'jinja2'}


def need_inspection() -> None:
    """Make the modules of an inspection importable where there is no PyTorch.

    Raises:
        ImportError: If a package is missing (the extra ``runtime-anomaly``).
    """
    missing = [name for module, name in _PACKAGES.items() if not _there(module)]
    if missing:
        raise ImportError(
            f"inspecting pictures needs {', '.join(missing)}: pip install 'denseclip-suite[runtime-anomaly]'"
        )
    do_without_torch()


def do_without_torch() -> None:
    """Make modules that need no PyTorch importable where there is none.

    The packages of data sets and measures collect modules that need it; those of an inspection and of labels do not.
    """
    if not (_there('torch') and _there('mmengine')):
        from denseclip.compat.lean import start_lean

        start_lean()


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
