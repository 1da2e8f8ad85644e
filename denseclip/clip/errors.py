"""Names that open_clip does not know, and the ones that were perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UnknownModelError(ValueError):
    """No architecture or weight tag of this name."""


class NoReadOutError(ValueError):
    """A tower cannot be read in the way that was asked for, or has no pixel embeddings at all."""


def nearest(name: str, known: Sequence[str]) -> str:
    """The known names that are most like this one, as the end of a message."""
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return 'nearest: ' + ', '.join(by_lower[n] for n in near) + '.'
    return 'known: ' + ', '.join(known[:12]) + (' ...' if len(known) > 12 else '.')
