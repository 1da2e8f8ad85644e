"""Which split a file or a folder speaks of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from denseclip.files.ours import ConversionError

ALIASES = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'), 'test': ('test', 'testing')}
"""Words that name a split in folders and files."""


def split_of(name: str) -> str | None:
    """The split that a file or folder name speaks of, in whole words: ``latest`` is not ``test``.

    Args:
        name: Such as ``instances_train2017``, ``Validation`` or ``myTestSet``.

    Returns:
        ``'train'``, ``'val'`` or ``'test'``; None for a name that speaks of none or of several.
    """
    apart = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)
    words = set(re.findall(r'[^\W\d_]+', apart.lower()))
    found = [split for split, aliases in ALIASES.items() if words & set(aliases)]
    return found[0] if len(found) == 1 else None


def refuse_shared(pictures: Mapping[str, Iterable[Path]]) -> list[str]:
    """Keep pictures that are trained on out of the other splits, whatever links lead to them.

    Args:
        pictures: Files by split.

    Returns:
        A note where those to validate on and to test on are the same in part.

    Raises:
        ConversionError: A picture to train on is in another split, too.
    """
    files = {split: _by_place(listed) for split, listed in pictures.items()}
    train = files.get('train', {})
    for split, listed in files.items():
        shared = [] if split == 'train' else sorted(train.keys() & listed.keys())
        if shared:
            raise ConversionError(
                f'{len(shared)} pictures are in train and again in {split}, such as {listed[shared[0]]}: scores would '
                'be of pictures that were trained on; leave them out of one'
            )
    both = len(files.get('val', {}).keys() & files.get('test', {}).keys())
    return [f'{both} pictures are in val and in test'] if both else []


def _by_place(pictures: Iterable[Path]) -> dict[str, Path]:
    """Files by where they really are; each folder is looked up once."""
    folders: dict[Path, str] = {}
    places = {}
    for path in pictures:
        if path.is_symlink():
            places[os.path.realpath(path)] = path
            continue
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        places[f'{folders[path.parent]}{os.sep}{path.name}'] = path
    return places
