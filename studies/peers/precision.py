"""The suite's side in the precision that a row is asked for, by the product's own switch; a peer's side has none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from studies.peers.theirs import Run


def in_precision(model: torch.nn.Module, request: dict[str, Any], run: Run) -> Run:
    """A call in ``request['precision']``, as ``--precision`` of a command would compute it.

    Args:
        model: What ``run`` calls, with its weights; changed in place by all but ``'fp32'``.
        request: The row's.
        run: The call as it is.

    Raises:
        ValueError: If the precision is of no use for the model, with what to use instead.
    """
    from denseclip.engine.compute import Compute

    compute = Compute(request['precision'])
    compute.prepare(model)

    def within() -> Tensor:
        with compute.running(model):
            return run()

    return within
