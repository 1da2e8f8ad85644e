"""Folders of whole models, as ``save_pretrained()`` of this suite writes them."""

from __future__ import annotations

import json
from pathlib import Path

CONFIG = 'config.json'
LIBRARY = 'denseclip'


def is_ours(folder: Path) -> bool:
    """Whether the config in a folder is one of this suite; one that cannot be read is not."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get('library') == LIBRARY
