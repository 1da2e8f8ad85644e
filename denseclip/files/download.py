"""Fetch a file by its address: whole, checked, and going on where an earlier try stopped."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from denseclip.files.atomic import commit, partial_name
from denseclip.files.locks import taking_turns
from denseclip.files.progress import Progress

SCHEMES = ('https', 'http', 'file')
_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_AGAIN = 'start the same command again to go on from there'


class DownloadError(OSError):
    """A file could not be fetched, or is not the one that was expected; says why and what to do."""


@dataclass(frozen=True)
class Fetched:
    """A file that is here now.

    Attributes:
        path: Where.
        size: In bytes.
        sha256: Of its content, in hexadecimal digits; empty where it was here before and there was nothing to compare.
        checked: Whether that is the sum that was expected; False where none was known.
        resumed: Bytes that an earlier try had fetched.
    """

    path: Path
    size: int
    sha256: str
    checked: bool
    resumed: int = 0


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    again: bool = True,
) -> Fetched:
    """Fetch a file.

    Processes that fetch the same file do so one after the other.

    What an interrupted try fetched stays beside the target, hidden, and the next try asks for the rest. It does so
    only where it can tell that the rest belongs to the same file: by ``sha256``, or by the server's mark (``ETag``).

    Args:
        url: ``https:``, ``http:`` or ``file:``.
        target: File to make; its folder is made if need be. An existing one is replaced.
        sha256: What the content must sum to, or the first digits of it.
        progress: Called with the bytes that are here and, if it is known, how many there will be.
        again: Fetch it also where it is here already; otherwise that one is taken, even if somebody else is just
            fetching it.

    Returns:
        What was fetched.

    Raises:
        DownloadError: The address cannot be read, the connection broke, or the content has another sum.
        OSError: The target cannot be written.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise DownloadError(f"'{url}' cannot be fetched: an address begins with {', '.join(f'{s}:' for s in SCHEMES)}.")
    if target.is_dir():
        raise IsADirectoryError(f"'{target}' is a folder: name a file in it.")
    if not again and (found := _here(url, target, sha256)):  # a folder that may only be read is enough for this
        return found
    target.parent.mkdir(parents=True, exist_ok=True)
    with taking_turns(target.with_name(partial_name(f'{target.name}.lock'))):
        if not again and (found := _here(url, target, sha256)):
            return found
        return _fetch(url, target, sha256, progress)


def _here(url: str, target: Path, sha256: str | None) -> Fetched | None:
    """A file that is here, if it is.

    Raises:
        DownloadError: It has another sum.
    """
    if not target.is_file():
        return None
    found = '' if sha256 is None else digest(target)
    if sha256 is not None and not found.startswith(sha256.lower()):
        raise DownloadError(
            f"'{target}', which '{url}' was fetched to, is not the expected file: its sha256 is {found}, not "
            f'{sha256}. Remove it to have it fetched again.'
        )
    return Fetched(target, target.stat().st_size, found, sha256 is not None)


def _fetch(url: str, target: Path, sha256: str | None, progress: Progress | None) -> Fetched:
    partial = target.with_name(partial_name(target.name))
    mark = target.with_name(partial_name(f'{target.name}.etag'))
    resumed = _receive(url, partial, mark, known_sum=sha256 is not None, progress=progress)
    found, size = digest(partial), partial.stat().st_size
    mark.unlink(missing_ok=True)
    if sha256 is not None and not found.startswith(sha256.lower()):
        partial.unlink()
        raise DownloadError(
            f"what '{url}' gives is not the expected file: its sha256 is {found}, not {sha256}. Nothing was kept; try "
            'again, and if it stays so, the file was changed where it is published.'
        )
    commit(partial, target)
    return Fetched(target, size, found, sha256 is not None, resumed)


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else _digest(file)


def _digest(file: Any) -> str:
    total = hashlib.sha256()  # Python 3.10 has no file_digest
    while block := file.read(_CHUNK):
        total.update(block)
    return total.hexdigest()


def _receive(
    url: str,
    partial: Path,
    mark: Path,
    *,
    known_sum: bool,
    progress: Progress | None,
) -> int:
    """Bring the partial file to its full length.

    Returns:
        Bytes of it that were there before.
    """
    have = partial.stat().st_size if partial.is_file() else 0
    etag = mark.read_text(encoding='ascii', errors='ignore').strip() if mark.is_file() else ''
    request = urllib.request.Request(url, headers={'User-Agent': 'denseclip', 'Accept-Encoding': 'identity'})
    if have and (known_sum or etag):
        request.add_header('Range', f'bytes={have}-')
        if etag:
            request.add_header('If-Range', etag)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # the scheme is one of SCHEMES
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to ask for: it is whole, or of another file
            return have
        raise DownloadError(f"'{url}' cannot be fetched: the server says {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, 'reason', None) or error
        raise DownloadError(f"'{url}' cannot be fetched ({reason}): check the network, then try again.") from error
    with closing(response):
        goes_on = have > 0 and getattr(response, 'status', None) == 206
        have = have if goes_on else 0
        _remember(mark, response.headers.get('ETag'))
        length = response.headers.get('Content-Length')
        total = have + int(length) if length and length.isdigit() else None
        _copy(response, partial, have, total, url, progress)
    return have


def _remember(mark: Path, etag: str | None) -> None:
    """Keep the server's mark of the file; a weak one does not promise equal bytes."""
    if etag and etag.isascii() and not etag.startswith('W/'):
        mark.write_text(etag, encoding='ascii')
    else:
        mark.unlink(missing_ok=True)


def _copy(
    response: Any,
    partial: Path,
    have: int,
    total: int | None,
    url: str,
    progress: Progress | None,
) -> None:
    with partial.open('ab' if have else 'wb') as file:
        while True:
            try:
                block = response.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise DownloadError(f"the connection to '{url}' broke after {have} bytes: {_AGAIN}.") from error
            if not block:
                break
            file.write(block)
            have += len(block)
            if progress is not None:
                progress(have, total)
    if total is not None and have < total:
        raise DownloadError(f"the connection to '{url}' broke after {have} of {total} bytes: {_AGAIN}.")
