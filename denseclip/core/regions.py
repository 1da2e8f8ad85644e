"""Regions of a model that a graph compiler takes one at a time: blocks, layers, necks and heads.

A whole model holds what no graph can: words, caches, data samples. Its regions are functions of tensors. Each becomes
one graph for a kind of shapes; blocks alike share theirs, so compiling takes the time of a block and not of a tower.
Nothing of a model changes: names of parameters, checkpoints and copies are those of the plain model.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

P = ParamSpec('P')
T = TypeVar('T')
_COMPILER = '_region_compiler'
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


def region(function: Callable[P, T]) -> Callable[P, T]:
    """Make a region of a function whose first argument is the module that it runs."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        compiler = args[0].__dict__.get(_COMPILER)
        return (function if compiler is None else compiler(function))(*args, **kwargs)

    return run


def _forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of a module that is a region."""
    plain = type(module).forward
    compiler = module.__dict__.get(_COMPILER)
    if torch.compiler.is_compiling() or compiler is None:
        return plain(module, *args, **kwargs)
    return compiler(plain)(module, *args, **kwargs)


def compile_regions(modules: Iterable[nn.Module], compiler: RegionCompiler, forward: bool) -> None:
    """Let regions run as graphs.

    Args:
        modules: What they belong to.
        compiler: Shared by all of them.
        forward: Whether their ``forward`` is the region; otherwise the functions marked by :func:`region` that take
            them.
    """
    for module in modules:
        module.__dict__[_COMPILER] = compiler
        if forward and 'forward' not in module.__dict__:
            module.__dict__['forward'] = MethodType(_forward, module)  # copies of the module get one of their own


def release_regions(model: nn.Module) -> None:
    """Let all regions of a model run as they were."""
    for module in model.modules():
        module.__dict__.pop(_COMPILER, None)
        bound = module.__dict__.get('forward')
        if isinstance(bound, MethodType) and bound.__func__ is _forward:
            del module.__dict__['forward']


def has_compiled_regions(model: nn.Module) -> bool:
    """Whether parts of a model run as graphs."""
    return any(_COMPILER in module.__dict__ for module in model.modules())
