"""Whether a tensor has numbers that can be read."""

from __future__ import annotations

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def has_values(tensor: Tensor) -> bool:
    """Whether there are numbers to read: not on the ``meta`` device, nor in a fake tensor, which have shapes alone."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))
