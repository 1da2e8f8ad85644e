"""The model that comes with the package, so that the first command works without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from denseclip.apis.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
ROOTS = (_PACKAGE, _PACKAGE.parent)
"""Where ``checkpoints/`` and ``configs/`` may stand: inside an installed package, beside it in a source checkout."""
_OWN_FOLDER = 'local-dir:checkpoints/'
_ZOO = 'checkpoints/model_zoo.yml'


def package_root() -> Path:
    """The folder that holds ``checkpoints/`` and ``configs/``.

    Raises:
        UserError: If this copy of the package came without them.
    """
    root = next((root for root in ROOTS if (root / _ZOO).is_file()), None)
    if root is None:
        raise UserError(f'there is no bundled model: {_incomplete(_ZOO)}')
    return root


def read_zoo() -> dict[str, Any]:
    """The content of ``checkpoints/model_zoo.yml``.

    Raises:
        UserError: See :func:`package_root`.
    """
    return yaml.safe_load((package_root() / _ZOO).read_text(encoding='utf-8'))


def default_model() -> tuple[Path, Path]:
    """Config and weights of the model that ``checkpoints/model_zoo.yml`` names as default.

    Returns:
        A config file and a safetensors file.

    Raises:
        UserError: if this copy of the package came without them.
    """
    root, zoo = package_root(), read_zoo()
    entry = next(model for model in zoo['models'] if model['name'] == zoo['default'])
    for name in (entry['config'], entry['file']):
        if not (root / name).is_file():
            raise UserError(f'the bundled model is incomplete: {_incomplete(name)}')
    return root / entry['config'], root / entry['file']


def find_config(name: str) -> Path:
    """A config that comes with the package.

    Args:
        name: Such as ``configs/fcclip/....py``.

    Raises:
        UserError: If this copy of the package came without it.
    """
    found = next((root / name for root in ROOTS if (root / name).is_file()), None)
    if found is None:
        raise UserError(f'there is no such config: {_incomplete(name)}')
    return found


def at_home(value: Any) -> Any:
    """A part of a config of the package, with folders of ``checkpoints/`` found from everywhere.

    Args:
        value: Config entries; ``local-dir:checkpoints/...`` in them is relative to the repository.
    """
    if isinstance(value, dict):
        return type(value)({key: at_home(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(at_home(item) for item in value)
    if isinstance(value, str) and value.startswith(_OWN_FOLDER):
        return f'local-dir:{package_root() / value.removeprefix("local-dir:")}'
    return value


def _incomplete(name: str) -> str:
    return (
        f"'{name}' is missing from '{_PACKAGE.parent}'. Install the package again, or name a model with --config and "
        '--weights (config=, weights= in Python).'
    )
