"""From what a user names on the command line to a list of pictures."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.files.pictures import files_of, image_suffixes


def expand_inputs(items: Iterable[str | Path]) -> list[Path]:
    """Files, folders and patterns to files.

    A folder stands for the pictures in it (told by their suffix, neither hidden ones nor those of its sub-folders), a
    pattern such as ``'shots/**/*.jpg'`` for what it matches; names with such characters that exist are taken as they
    are. A file that does not exist is kept: reading it reports it without stopping the others.

    Args:
        items: what the user named.

    Returns:
        Paths in the given order, folders and patterns sorted, each file once.

    Raises:
        UserError: if a folder holds no picture, a pattern matches nothing, or nothing was named.
    """
    found: dict[Path, None] = {}
    for item in items:
        path = Path(item)
        if path.is_dir():
            inside = files_of(path, image_suffixes())
            if not inside:
                raise UserError(
                    f"folder '{item}' holds no pictures (.jpg, .png, ...); name pictures or another folder."
                )
            found.update(dict.fromkeys(inside))
        elif not path.exists() and glob.has_magic(str(item)):
            hits = glob.glob(str(item), recursive=True)  # noqa: PTH207  (Path.glob takes no absolute pattern)
            matches = sorted(path for path in map(Path, hits) if path.is_file())
            if not matches:
                raise UserError(f"no file matches '{item}'; check the pattern and the folder.")
            found.update(dict.fromkeys(matches))
        else:
            found[path] = None
    if not found:
        raise UserError('no picture was named; give files, folders or patterns.')
    return list(found)
