"""Which split a file or a folder speaks of."""

from __future__ import annotations

import re

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
