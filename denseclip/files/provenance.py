"""Where a file that is given to others comes from: the version that wrote it, when, and what it was made of."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path

from denseclip.files.download import digest
from denseclip.version import __version__

_ELSEWHERE = ('hf-hub:', 'package:')
_HERE = ('local-dir:', 'file:')
_ADDRESS = re.compile(r'([a-z][a-z0-9+.-]+):/+([^?#]*)(?:\?[^#]*)?(?:#(.*))?', re.IGNORECASE | re.DOTALL)
_SUM = re.compile(r'(?:^|&)(sha256=[0-9a-fA-F]{64})(?:&|$)')
_EPOCH = 'SOURCE_DATE_EPOCH'
"""Environment variable of reproducible builds: the seconds that stand for now."""


def provenance(source: str | Path | None = None, config: str | Path | None = None) -> dict[str, str]:
    """What every published file says of itself; no folder of this machine is in it, and nothing that opens a door.

    Args:
        source: The weights that it was made from, a file or any name of weights; None: none that has a name.
        config: The config file of its model.

    Returns:
        ``denseclip`` (the version), ``written`` (UTC; ``SOURCE_DATE_EPOCH`` where that is set) and, as far as they are
        known, ``source``, ``source_sha256`` where that is a file, and ``config``.
    """
    said = {'denseclip': __version__, 'written': _now().strftime('%Y-%m-%dT%H:%M:%SZ')}
    if source is not None:
        text = str(source)
        elsewhere = text.startswith(_ELSEWHERE)
        said['source'] = text if elsewhere else _name_of(text)
        if not elsewhere and Path(text).is_file():
            said['source_sha256'] = digest(Path(text))
    if config is not None:
        said['config'] = Path(config).name
    return said


def _name_of(source: str) -> str:
    """Name of a file; of an address scheme, host, path and sum, for user, password and query open doors."""
    found = _ADDRESS.fullmatch(source)
    if found is None or source.lower().startswith(_HERE):
        return Path((found[2] if found else source).removeprefix('local-dir:')).name
    scheme, place, fragment = found.groups(default='')
    host, slash, path = place.partition('/')
    kept = _SUM.search(fragment)
    return f'{scheme}://{host.rpartition("@")[2]}{slash}{path}' + (f'#{kept[1]}' if kept else '')


def _now() -> datetime:
    given = os.environ.get(_EPOCH, '')
    return datetime.fromtimestamp(int(given), timezone.utc) if given.isdecimal() else datetime.now(timezone.utc)
