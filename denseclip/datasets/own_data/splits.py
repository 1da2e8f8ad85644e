"""Which split a file or a folder speaks of."""

from __future__ import annotations

ALIASES = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'), 'test': ('test', 'testing')}
"""Words that name a split in folders and files."""


def split_of(name: str) -> str | None:
    """The split that a file or folder name speaks of."""
    low = name.lower()
    found = [split for split, words in ALIASES.items() if any(word in low for word in words)]
    return found[0] if len(found) == 1 else None
