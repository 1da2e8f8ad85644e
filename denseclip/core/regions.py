"""Regions of a model that run in another way one at a time: blocks, layers, necks and heads.

A whole model holds what no graph can: words, caches, data samples. Its regions are functions of tensors. Each becomes
one graph for a kind of shapes; blocks alike share theirs, so compiling takes the time of a block and not of a tower.
In training a region can also forget its activations and compute them again (Chen et al., 2016, section 4.1).
Nothing of a model changes: names of parameters, checkpoints and copies are those of the plain model.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MethodType
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

P = ParamSpec('P')
T = TypeVar('T')
_RUNNER = '_region_runner'
GATHER = '_run_gathered'
"""Method of a module whose parameters are spread over processes: it runs a function while they are whole."""
_RECOMPILE_LIMIT = 64
"""Graphs of one region: kinds of blocks times gradients on or off times fixed and dynamic shapes."""


class RegionCompiler:
    """Compiles functions once, for all modules that share them.

    Args:
        backend: Of ``torch.compile``; ``'inductor'`` makes kernels, ``'eager'`` and ``'aot_eager'`` only graphs.
        dynamic: None: the first size gets a graph of its own, a second one makes a graph for all sizes. True: for all
            sizes from the start. False: a graph for each size.
    """

    def __init__(self, backend: Any = 'inductor', dynamic: bool | None = None) -> None:
        self.backend, self.dynamic = backend, dynamic
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """The compiled function; a part that no graph takes is an error, not a silent break."""
        if function not in self._compiled:
            options: dict[str, Any] = {}
            if 'recompile_limit' in inspect.signature(torch.compile).parameters:  # PyTorch 2.13
                options['recompile_limit'] = _RECOMPILE_LIMIT
            compiled = torch.compile(function, backend=self.backend, dynamic=self.dynamic, fullgraph=True, **options)
            self._compiled[function] = compiled
        return self._compiled[function]

    def __deepcopy__(self, memo: Any) -> RegionCompiler:
        return self

    def __reduce__(self) -> Any:
        return RegionCompiler, (self.backend, self.dynamic)


class Recompute:
    """Keeps the inputs of regions for the backward pass, which computes the rest again.

    Random numbers are drawn again as they were, and batch norms count a batch once.

    Args:
        compiler: Also makes graphs of the regions.
    """

    def __init__(self, compiler: RegionCompiler | None = None) -> None:
        self.compiler = compiler

    def __call__(self, function: Callable[..., T]) -> Callable[..., T]:
        """The function of a module, with less memory and one more forward pass where a gradient is asked for."""
        inner = function if self.compiler is None else self.compiler(function)

        def run(module: nn.Module, *args: Any, **kwargs: Any) -> T:
            if not torch.is_grad_enabled():
                return inner(module, *args, **kwargs)
            contexts = functools.partial(_contexts, module)
            return checkpoint(inner, module, *args, use_reentrant=False, context_fn=contexts, **kwargs)

        return run


RegionRunner: TypeAlias = RegionCompiler | Recompute


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the first pass and its repetition run in."""
    return nullcontext(), _counted_already(module)


@contextmanager
def _counted_already(module: nn.Module) -> Iterator[None]:
    """Batch norms in training mode that leave their running statistics alone."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    counts = [(counter, counter.clone()) for norm in norms if (counter := norm.num_batches_tracked) is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for counter, before in counts:
            counter.copy_(before)


def region(function: Callable[P, T]) -> Callable[P, T]:
    """Make a region of a function whose first argument is the module that it runs."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        module = cast(nn.Module, args[0])
        runner, gathered = runner_of(module), module.__dict__.get(GATHER)
        inner = function if runner is None else runner(function)
        return inner(*args, **kwargs) if gathered is None else gathered(inner, *args[1:], **kwargs)

    return run


def whole(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that reads parameters of the module that is its first argument, and is no region of its own.

    Where they are spread over processes, they are put together around it.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        gathered = None if torch.compiler.is_compiling() else cast(nn.Module, args[0]).__dict__.get(GATHER)
        return function(*args, **kwargs) if gathered is None else gathered(function, *args[1:], **kwargs)

    return run


def _forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of a module that is a region."""
    plain = type(module).forward
    runner = runner_of(module)
    if torch.compiler.is_compiling() or runner is None:
        return plain(module, *args, **kwargs)
    return runner(plain)(module, *args, **kwargs)


def run_regions(modules: Iterable[nn.Module], runner: RegionRunner, forward: bool) -> None:
    """Let regions run as graphs, or compute their activations again.

    Args:
        modules: What they belong to.
        runner: Shared by all of them.
        forward: Whether their ``forward`` is the region; otherwise the functions marked by :func:`region` that take
            them.
    """
    for module in modules:
        module.__dict__[_RUNNER] = runner
        if forward and 'forward' not in module.__dict__:
            module.__dict__['forward'] = MethodType(_forward, module)  # copies of the module get one of their own


def release_regions(model: nn.Module) -> None:
    """Let all regions of a model run as they were."""
    for module in model.modules():
        module.__dict__.pop(_RUNNER, None)
        bound = module.__dict__.get('forward')
        if isinstance(bound, MethodType) and bound.__func__ is _forward:
            del module.__dict__['forward']


def runner_of(module: nn.Module) -> RegionRunner | None:
    """How the regions of a module run, if not as they were written."""
    return module.__dict__.get(_RUNNER)


def runs_as_written(module: nn.Module) -> bool:
    """Whether a module is no region that runs in another way, and has its parameters to itself."""
    return runner_of(module) is None and GATHER not in module.__dict__
