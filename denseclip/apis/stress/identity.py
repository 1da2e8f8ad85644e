"""What results depend on, in one hash: settings, weights and pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from denseclip.weights import resolve
from denseclip.weights.io import WEIGHT_SUFFIXES
from denseclip.weights.source import SCHEMES


def fingerprint(settings: Any, files: Iterable[str]) -> str:
    """A hash of settings, of every file of weights that they name, and of further files.

    Args:
        settings: Plain data. Texts in it that name a file or a folder of weights on this machine stand for its content,
            too, as size and time tell it; repositories of the hub are taken by their names.
        files: Further files, by path.
    """
    named = sorted({text for text in _texts(settings) if not text.startswith('hf-hub:')})
    content = [settings, [[text, _stamps(text)] for text in named], [[file, *_stamp(Path(file))] for file in files]]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _stamps(text: str) -> list[list[Any]]:
    """Size and time of what a text names; nothing where it names nothing here."""
    try:
        place = resolve(text)
        if place.is_file():
            return [_stamp(place)]
        # A word of the config may be a folder's name by chance, even that of the results: only weights count there.
        whole = text.startswith(SCHEMES)
        found = sorted(p for p in place.iterdir() if p.is_file() and (whole or p.suffix in WEIGHT_SUFFIXES))
    except (OSError, ValueError, RuntimeError, ImportError):  # no path, or none that can be looked at
        return []
    return [[path.name, *_stamp(path)] for path in found]


def _stamp(path: Path) -> list[int]:
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return []
    return [facts.st_size, facts.st_mtime_ns]
