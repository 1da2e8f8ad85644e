"""Configs and weights that come with the package, named as in the repository: ``configs/...``, ``checkpoints/...``.

In a checkout both folders stand beside the package, in an installed package inside it. A file of the user's own that
has such a name is always taken first.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePath

_PACKAGE = Path(__file__).resolve().parents[1]
ROOTS = (_PACKAGE, _PACKAGE.parent)
"""Where ``checkpoints/`` and ``configs/`` may stand: inside an installed package, beside it in a source checkout."""
FOLDERS = ('configs', 'checkpoints')
_BASE = '_base_'


def shipped(name: str | PurePath) -> Path | None:
    """A file or folder that comes with the package.

    Args:
        name: Its path in the repository, such as ``checkpoints/miniworld_clip``.

    Returns:
        Where it stands here, or None if there is none of that name.
    """
    parts = PurePath(name).parts
    if not parts or parts[0] not in FOLDERS or '..' in parts:
        return None
    found = (root / PurePath(name) for root in ROOTS if (root / 'checkpoints' / 'model_zoo.yml').is_file())
    return next((path for path in found if path.exists()), None)


def here_or_shipped(name: str | PurePath) -> Path:
    """A path as it is named if that exists, else the one that comes with the package, else as it is named."""
    path = Path(name).expanduser()
    return path if path.exists() else shipped(name) or path


def shipped_configs() -> dict[str, Path]:
    """Name of every config of a whole model, such as ``fcclip/fcclip_convnext-l_..``, and its file."""
    folder = shipped('configs')
    if folder is None:
        return {}
    files = {path.relative_to(folder).with_suffix('').as_posix(): path for path in sorted(folder.glob('*/*.py'))}
    return {name: path for name, path in files.items() if not name.startswith(_BASE)}


def config_file(name: str | PurePath) -> Path:
    """The config that a user means.

    Args:
        name: A file, or one that comes with the package: ``configs/METHOD/NAME.py``, ``METHOD/NAME`` or ``NAME``.

    Returns:
        Its file; the path as it is given if there is no such config.
    """
    path = Path(name)
    if path.exists():
        return path
    known = shipped_configs()
    wanted = PurePath(name).as_posix().removeprefix('configs/').removesuffix('.py')
    if wanted in known:
        return known[wanted]
    alone = [file for key, file in known.items() if key.partition('/')[2] == wanted]
    return alone[0] if len(alone) == 1 else shipped(name) or path


def similar_configs(name: str | PurePath) -> list[str]:
    """Names of shipped configs that are spelled nearly so, the nearest first."""
    known = {key.partition('/')[2]: key for key in shipped_configs()}
    near = difflib.get_close_matches(PurePath(name).stem, known, n=3, cutoff=0.6)
    return [known[key] for key in near]
