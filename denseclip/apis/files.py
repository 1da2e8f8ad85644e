"""Writing results: whole files or none, and never over earlier ones unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.files.atomic import replacing
from denseclip.files.ours import ConversionError, check_apart


def prepare_folder(folder: str | Path, names: Iterable[str], force: bool = False) -> Path:
    """Make a folder ready to take files, before any work is spent on them.

    Args:
        folder: made when there is none.
        names: files that are going to be written there.
        force: whether those may be overwritten.

    Returns:
        The folder.

    Raises:
        UserError: if it cannot be made or written to, or holds some of the files and ``force`` is False.
    """
    if not str(folder).strip():
        raise UserError('the folder for the results has an empty name; use . for the current folder.')
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"cannot write to '{folder}': it is a file, not a folder. Choose another folder.") from None
    except OSError as error:
        raise UserError(
            f"cannot write to '{folder}': {error.strerror or error}. Choose another folder or change its rights."
        ) from error
    earlier = [name for name in names if (folder / name).exists()]
    if earlier and not force:
        more = f' and {len(earlier) - 5} more' if len(earlier) > 5 else ''
        raise UserError(
            f"'{folder}' holds earlier results: {', '.join(earlier[:5])}{more}. Nothing was written; choose another "
            'folder, or overwrite them with --force (force=True in Python).'
        )
    return folder


def check_out(out: str | Path, sources: Iterable[Path]) -> None:
    """Refuse a folder for results that is, contains or lies in a source: the next run would read them as data.

    Args:
        out: Folder for the results.
        sources: Files and folders that are read.

    Raises:
        UserError: If they touch each other.
    """
    try:
        check_apart(Path(out), sources)
    except ConversionError as error:
        raise UserError(f'--out: {error}.') from error


def write_file(path: str | Path, content: bytes | str) -> Path:
    """Write a file through a temporary one, so that an interruption leaves the old file or the new, never a half.

    Args:
        path: target in an existing folder.
        content: bytes, or text to encode as UTF-8.

    Returns:
        The path.

    Raises:
        UserError: if it cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as partial:
            partial.write_bytes(content.encode('utf-8') if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror or error}. Check free space and rights.") from error
    return path
