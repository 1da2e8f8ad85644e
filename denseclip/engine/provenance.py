"""What made a result: versions, machine, code state and command, written beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mmengine.utils.dl_utils import collect_env

from ..files.atomic import write_text
from ..version import __version__

_PACKAGES = (
    'torch',
    'torchvision',
    'mmengine',
    'mmcv-lite',
    'mmcv',
    'mmsegmentation',
    'mmdet',
    'open_clip_torch',
    'timm',
    'transformers',
    'numpy',
    'opencv-python',
    'Pillow',
)


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that can change a result."""
    versions = {'denseclip': __version__}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: str | Path) -> dict[str, Any] | None:
    """Commit of the repository around a folder, and which tracked files differ from it.

    Args:
        folder: Any folder inside the work tree.

    Returns:
        ``commit`` and ``modified``; ``None`` outside a repository, without git, or when it takes longer than 10 s.
    """
    command = ['git', '-C', str(folder)]
    try:
        options: dict[str, Any] = {'capture_output': True, 'text': True, 'timeout': 10, 'check': True}
        commit = subprocess.run([*command, 'rev-parse', 'HEAD'], **options).stdout.strip()
        status = subprocess.run([*command, 'status', '--porcelain', '--untracked-files=no'], **options).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {'commit': commit, 'modified': [line[3:] for line in status.splitlines()]}


def write_provenance(folder: str | Path, **extra: Any) -> Path:
    """Write ``environment.json``.

    Args:
        folder: Where to; it must exist.
        **extra: Further entries (config file, checkpoint ...).

    Returns:
        The file.
    """
    content = {
        'command': sys.argv,
        'packages': package_versions(),
        'git': git_state(Path(__file__).parent),
        'machine': {key: str(value) for key, value in collect_env().items()},
        'threads': {key: value for key, value in os.environ.items() if key.endswith('_NUM_THREADS')},
        **extra,
    }
    path = Path(folder) / 'environment.json'
    write_text(path, json.dumps(content, indent=2, default=str) + '\n')
    return path
