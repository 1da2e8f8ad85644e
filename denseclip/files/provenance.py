"""Where a file that is given to others comes from: the version that wrote it, when, and what it was made of."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from denseclip.files.download import digest
from denseclip.version import __version__

_ELSEWHERE = ('hf-hub:', 'package:', 'https:', 'http:')
_EPOCH = 'SOURCE_DATE_EPOCH'
"""Environment variable of reproducible builds: the seconds that stand for now."""


def provenance(source: str | Path | None = None, config: str | Path | None = None) -> dict[str, str]:
    """What every published file says of itself; no folder of this machine is in it.

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
        said['source'] = text if elsewhere else Path(text.removeprefix('local-dir:')).name
        if not elsewhere and Path(text).is_file():
            said['source_sha256'] = digest(Path(text))
    if config is not None:
        said['config'] = Path(config).name
    return said


def _now() -> datetime:
    given = os.environ.get(_EPOCH, '')
    return datetime.fromtimestamp(int(given), timezone.utc) if given.isdecimal() else datetime.now(timezone.utc)
