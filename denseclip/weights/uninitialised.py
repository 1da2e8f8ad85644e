"""Building a model whose weights a file is about to replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = (Tensor.normal_, Tensor.uniform_, Tensor.erfinv_)


class Uninitialised(TorchFunctionMode):
    """A context in which weights are not drawn: what ``torch.nn.init`` would fill stays as it was allocated.

    Only for models of which every weight is loaded before it is used (a strict load sees to that). The meta device
    does the same, at the cost of importing PyTorch's compiler the first time that numbers are drawn on it.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function of PyTorch, or return the tensor that it would have filled."""
        kwargs = kwargs or {}
        if getattr(func, '__module__', '') == torch.nn.init.__name__ or func in _DRAWN:
            return args[0] if args else kwargs['tensor']
        return func(*args, **kwargs)
