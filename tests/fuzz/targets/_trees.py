"""What lies in a folder, so that a property can say that nothing of it was touched."""

import hashlib
from pathlib import Path


def contents(folder):
    """Relative name -> digest (files), target (links) or None (folders) of everything below a folder."""
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(Path(folder).rglob('*'))}


def _digest(path):
    if path.is_symlink():
        return f'-> {path.readlink()}'
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
