"""The switch itself: what is asked for, and putting a model into that state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

import torch
from torch import nn

from denseclip.core.precision import Precision, autocast, check_precision, low_dtype
from denseclip.core.regions import Recompute, RegionCompiler, RegionRunner, release_regions, run_regions

from .compiler import require_compiler
from .layout import set_layout
from .weights import hold_in, quantize

Layout = Literal['auto', 'contiguous', 'channels_last']
LAYOUTS: tuple[str, ...] = get_args(Layout)


@dataclass(frozen=True)
class Compute:
    """How a model computes.

    Attributes:
        precision: ``'fp32'``; ``'bf16'`` or ``'fp16'`` (GPUs) by autocast, the image tower's matrices held in that
            type while it does not train; ``'int8-dynamic'`` (CPUs): the feed-forward layers of transformers by integer
            products, everything else in float32.
        layout: Of convolutions: ``'channels_last'``, ``'contiguous'``, or ``'auto'``: channels last in low precision,
            where that was measured to be faster, see :mod:`denseclip.engine.compute.layout`.
        compile: Make a graph of each block, layer, neck and head, with ``torch.compile``; a string names its backend.
        grad_checkpointing: In training, compute activations of blocks, layers, necks and heads again in the backward
            pass instead of keeping them: less memory, one more forward pass, the same gradients.

    Raises:
        ValueError: If one of them is unknown.
    """

    precision: Precision = 'fp32'
    layout: Layout = 'auto'
    compile: bool | str = False
    grad_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout '{self.layout}' must be one of {', '.join(LAYOUTS)}.")

    def prepare(self, model: Any, *, training: bool = False) -> Any:
        """Put a model into that state, in place; for one that is on its device and has its weights.

        A model whose weights are read at the first use reads them now: numbers that are rounded to another type have
        to be there.

        Args:
            model: The model.
            training: Whether it is to be trained; then its weights stay in float32.

        Returns:
            The model.

        Raises:
            ValueError: If the precision is of no use on its device, or there is nothing to compile with.
        """
        place = device_of(model)
        check_precision(self.precision, place.type, training)
        if self.compile:
            require_compiler(self.compile, place.type)
        dtype = low_dtype(self.precision)
        set_layout(model, self.layout, low_precision=dtype is not None)
        if not training and self.precision != 'fp32':
            if hasattr(model, 'need_weights'):
                model.need_weights()
            hold_in(model, dtype) if dtype is not None else quantize(model)
        release_regions(model)
        compiler = None
        if self.compile:
            compiler = RegionCompiler(self.compile if isinstance(self.compile, str) else 'inductor')
        if training and self.grad_checkpointing:
            _run_regions(model, Recompute(compiler))
        elif compiler is not None:
            _run_regions(model, compiler)
        return model

    @contextmanager
    def running(self, model: Any) -> Iterator[None]:
        """The context that a prepared model runs in.

        Raises:
            ValueError: See :func:`denseclip.core.precision.check_precision`.
        """
        with autocast(self.precision, device_of(model).type):
            yield


def _run_regions(model: nn.Module, runner: RegionRunner) -> None:
    from .regions import forgetful_of, regions_of  # all models' blocks: nothing else needs to import them

    whole, called = regions_of(model, text=isinstance(runner, Recompute))
    run_regions(whole, runner, forward=True)
    run_regions(called, runner, forward=False)
    if isinstance(runner, Recompute):
        run_regions(forgetful_of(model), Recompute(), forward=False)


def device_of(model: nn.Module) -> torch.device:
    """Where a model is: the device of its first parameter or buffer."""
    found = next(chain(model.parameters(), model.buffers()), None)
    return torch.device('cpu') if found is None else found.device
