"""What a command has left behind: which files there are, whether they are whole, and how they differ from others."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

from PIL import Image

_UNFINISHED = re.compile(
    r'\.partial$|\.part$|\.tmp$|^\.tmp|^\.write-test-|^\.saving-|^\.export-|\.new-\w{8}$|^denseclip-|^tmp'
)
VOLATILE = re.compile(r'(^|/)(\d{8}_\d{6}(/|$)|last_checkpoint$|\.denseclip/run\.record$|\.made-by-denseclip$)')
"""What differs between equal runs: logs by their time, paths, and times of files."""

_WORLD = re.compile(rb'[^\s"\'=,(]*\bworld/')  # the folder of sources, from the root or from the results


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, by its name."""
    return {name: _digest(folder / name) for name in names_below(folder)}


def names_below(folder: Path) -> list[str]:
    """Files and links below a folder."""
    found = (path for path in folder.rglob('*') if path.is_file() or path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _digest(path: Path, place: str = '') -> str:
    if path.is_symlink() and not path.exists():
        return 'broken link'
    content = path.read_bytes()
    if place:
        content = _WORLD.sub(b'world/', content.replace(place.encode(), b''))
    return hashlib.sha256(content).hexdigest()[:16]


def digests_of_files(out: Path) -> dict[str, str]:
    """All files, without those that differ between equal runs; where the folder and the sources lie does not count."""
    return {name: _digest(out / name, str(out)) for name in names_below(out) if not VOLATILE.search(name)}


def broken(path: Path) -> str:
    """Why a file is not whole; nothing for one that is, or that has no end to be seen."""
    try:
        if path.suffix in ('.png', '.jpg', '.jpeg', '.tiff'):
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix in ('.json', '.record') and 'vis_data' not in path.parts:
            json.loads(path.read_text(encoding='utf-8'))
        elif path.suffix in ('.pth', '.npz'):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    return 'damaged archive'
        elif path.suffix == '.safetensors':
            content = path.read_bytes()
            size = int.from_bytes(content[:8], 'little')
            header = json.loads(content[8 : 8 + size])
            ends = [entry['data_offsets'][1] for name, entry in header.items() if name != '__metadata__']
            if 8 + size + max(ends, default=0) != len(content):
                return 'cut off'
        elif path.suffix in ('.onnx', '.html') and not path.stat().st_size:
            return 'empty'
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        return f'{type(error).__name__}: {error}'
    return ''


def unfinished(folder: Path) -> list[str]:
    """Names below a folder that only something unfinished has."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if _UNFINISHED.search(path.name))


def visible(path: Path) -> str:
    """Why a file that people see is broken."""
    hidden = any(part.startswith('.') for part in path.parts)
    return '' if hidden and _UNFINISHED.search(path.name) else broken(path)


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """What differs between what an undisturbed run leaves and what is there."""
    missing = [f'lost: {name}' for name in wanted if name not in found]
    more = [f'too much: {name}' for name in found if name not in wanted]
    return missing + more + [f'differs: {name}' for name in wanted if name in found and wanted[name] != found[name]]
