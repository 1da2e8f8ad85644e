"""What can go wrong with a weight file, as exception types that carry the cure in their message."""

from __future__ import annotations


class WeightFileError(RuntimeError):
    """A weight file cannot be read: empty, truncated, a folder, or of no known format."""


class UntrustedWeightsError(WeightFileError):
    """A weight file asks for code to be run while it is read, and the caller has not said ``trust=True``."""


class WeightMismatchError(RuntimeError):
    """The tensors of a file do not fit the module that should take them (names or shapes)."""
