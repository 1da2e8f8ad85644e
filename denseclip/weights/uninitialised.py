"""Building a model whose weights a file is about to replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Uninitialised(TorchFunctionMode):
    """A context in which layers of PyTorch do not draw their weights: these stay as they were allocated.

    Only for models of which every weight is loaded before it is used (a strict load sees to that). The meta device
    does the same, at the cost of importing PyTorch's compiler the first time that numbers are drawn on it. Functions
    of ``torch.nn.init`` that ask modes are passed over whole; nothing inside of the others is, for ``trunc_normal_``
    draws until all its numbers are in range.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function of PyTorch, or return the tensor that it would have filled."""
        kwargs = kwargs or {}
        if getattr(func, '__module__', '') == torch.nn.init.__name__:
            return args[0] if args else kwargs['tensor']
        return func(*args, **kwargs)
