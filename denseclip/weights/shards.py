"""Weights in several files: the shards that transformers and accelerate write, with or without their index."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .errors import WeightFileError

INDEX = '.index.json'
_SHARD = re.compile(r'(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)')


def is_index(path: Path) -> bool:
    """Whether a file is the index of shards, by its name."""
    return path.name.endswith(INDEX)


def folder_index(folder: Path) -> Path | None:
    """The index of a folder's shards, safetensors first, or None."""
    found = sorted(folder.glob(f'*{INDEX}'), key=lambda p: ('safetensors' not in p.name, p.name))
    return found[0] if found else None


def shard_names(index: Path) -> dict[str, list[str]]:
    """File names in an index, each with the tensors that the file must hold.

    Raises:
        WeightFileError: The file is no index.
    """
    try:
        named = json.loads(index.read_text(encoding='utf-8'))['weight_map']
        shards: dict[str, list[str]] = {}
        for name, file in named.items():
            if Path(file).name != file:
                raise ValueError(f'shard {file!r} lies outside the folder')
            shards.setdefault(file, []).append(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightFileError(f"'{index}' is no index of shards ({error!r}); it needs a 'weight_map'.") from error
    return shards


def index_shards(index: Path) -> dict[Path, list[str]]:
    """Files of an index, each with the tensors that it must hold.

    Raises:
        WeightFileError: The file is no index.
        FileNotFoundError: Shards are missing; they are named.
    """
    shards = {index.parent / name: tensors for name, tensors in shard_names(index).items()}
    _all_there(index, list(shards))
    return shards


def sibling_shards(path: Path) -> list[Path]:
    """All shards of the set that a file belongs to by its name; the file alone if it is no shard.

    Raises:
        FileNotFoundError: Shards are missing; they are named.
    """
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match['count'])
    names = [f'{match["stem"]}-{n:05d}-of-{match["count"]}{match["suffix"]}' for n in range(1, count + 1)]
    shards = [path.parent / name for name in names]
    _all_there(path, shards)
    return shards


def _all_there(asked: Path, shards: list[Path]) -> None:
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise FileNotFoundError(
            f"'{asked}': {len(missing)} of its {len(shards)} shards are not there: {', '.join(missing[:5])}"
            f'{" ..." if len(missing) > 5 else ""}; fetch them into {asked.parent}.'
        )
