"""Training with parameters, gradients and optimizer states spread over the processes (ZeRO-3; FSDP2 in PyTorch).

A model stays itself: ``fully_shard`` makes each parameter a slice on every process and puts the whole together around
the forward and backward pass of a region, see :mod:`denseclip.core.regions`. Names do not change. Checkpoints hold
whole tensors, so a sharded run and a plain one read each other's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from denseclip.clip.text.base import TextTower
from denseclip.core.regions import GATHER


def is_sharded(model: nn.Module) -> bool:
    """Whether :func:`shard` was called on a model."""
    return isinstance(model, FSDPModule)


def shard(model: nn.Module, regions: bool = True) -> nn.Module:
    """Spread the parameters of a model over all processes, in place.

    It must hold its first weights already, the same in all processes. Scalars (CLIP's logit scale) cannot be cut: they
    stay whole, and their gradients are averaged as in ordinary training. Frozen text towers stay whole, too.

    Args:
        model: On any device; it is moved to that of the run, region by region, so that it need not fit there whole.
        regions: Put together one region at a time; otherwise the whole model for each pass, which takes more memory
            and works with any model.

    Returns:
        The model.
    """
    from .compute.regions import layers_of  # the classes of all models' blocks

    mesh = init_device_mesh(torch.device(get_device()).type, (distributed.get_world_size(),))
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # slices of filters in another layout are not known to PyTorch
    kept = set(_kept_whole(model))
    options: dict[str, Any] = {'mesh': mesh, 'ignored_params': kept, 'shard_placement_fn': _placement(mesh.size())}
    whole, called = layers_of(model) if regions else ([], [])
    for module in reversed([*whole, *called]):  # inner ones first: `modules()` names the outer ones first
        if not kept.issuperset(module.parameters()):
            fully_shard(module, **options)
    for module in called:
        if is_sharded(module):
            module.__dict__[GATHER] = MethodType(_run, module)
            register_fsdp_forward_method(module, GATHER)
    fully_shard(model, **options)
    for parameter in kept:
        parameter.data = parameter.data.to(get_device())
        if parameter.requires_grad:
            parameter.register_hook(_average)
    for module in model.modules():
        module.register_load_state_dict_pre_hook(_cut_own)
        if isinstance(module, BaseDataPreprocessor):
            module.to(get_device())
    return model


def _kept_whole(model: nn.Module) -> Iterator[nn.Parameter]:
    """Scalars, which cannot be cut, and frozen text towers: run once a vocabulary, and known by their bytes."""
    yield from (parameter for parameter in model.parameters() if parameter.ndim == 0)
    for module in model.modules():
        # a model may hold one over parameters of its CLIP, and not as a part
        for tower in (module, getattr(module, 'text_tower_beside', None)):
            if isinstance(tower, TextTower) and not any(p.requires_grad for p in tower.parameters()):
                yield from tower.parameters()


def held_bytes(model: nn.Module, processes: int, moments: int = 2) -> dict[str, int]:
    """What the fullest of the processes holds between two steps, without anything being spread; works on ``meta``.

    Args:
        model: The model, whole.
        processes: How many it would be spread over; 1: what each process of ordinary training holds.
        moments: Tensors that the optimizer keeps for each trained parameter; of Adam two.

    Returns:
        Bytes of ``parameters``, ``gradients`` and ``optimizer``.
    """
    kept, place = set(_kept_whole(model)), _placement(processes)
    sizes = dict.fromkeys(('parameters', 'gradients', 'optimizer'), 0)
    for parameter in model.parameters():
        size = parameter.numel()
        if processes > 1 and parameter not in kept:
            cut = place(parameter)
            rows = parameter.shape[0 if cut is None else cut.dim]
            size = size // rows * math.ceil(rows / processes)
        sizes['parameters'] += size * parameter.element_size()
        if parameter.requires_grad:
            sizes['gradients'] += size * parameter.element_size()
            sizes['optimizer'] += size * parameter.element_size() * moments
    return sizes


def _run(module: nn.Module, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function of a module; functions inside it find the parameters whole already."""
    entry = module.__dict__.pop(GATHER)
    try:
        return function(module, *args, **kwargs)
    finally:
        module.__dict__[GATHER] = entry


def _placement(processes: int) -> Callable[[nn.Parameter], Shard | None]:
    """Where parameters are cut: along the first axis, or along another where that has too few rows."""

    def choose(parameter: nn.Parameter) -> Shard | None:
        if parameter.shape[0] >= processes:
            return None
        fitting = [axis for axis, size in enumerate(parameter.shape) if size and size % processes == 0]
        return Shard(max(fitting, key=lambda axis: parameter.shape[axis])) if fitting else None

    return choose


def _average(gradient: Tensor) -> Tensor:
    mean = gradient / distributed.get_world_size()
    distributed.all_reduce(mean)
    return mean


def _cut(whole: Any, like: Any) -> Any:
    """A whole tensor as a parameter is spread; what is no such tensor stays."""
    fits = isinstance(whole, Tensor) and not isinstance(whole, DTensor) and isinstance(like, DTensor)
    if not fits or whole.shape != like.shape:
        return whole
    # Every process has read the same file: each takes its part, and nothing is sent.
    placed = whole.to(device=like.device)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


def _cut_own(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a module loads whole tensors."""
    for name, parameter in module.named_parameters(recurse=False):
        if prefix + name in state:
            state[prefix + name] = _cut(state[prefix + name], parameter)


def take_whole_states(optim_wrapper: OptimWrapper) -> None:
    """Let an optimizer of sharded parameters load the state of a checkpoint, and clip its gradients as one.

    Args:
        optim_wrapper: Around the optimizer.
    """
    if optim_wrapper.clip_grad_kwargs and optim_wrapper.clip_func is nn.utils.clip_grad_norm_:
        optim_wrapper.clip_func = clip_norm
    optim_wrapper.optimizer.register_load_state_dict_pre_hook(_cut_states)


def _cut_states(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    own = [parameter for group in optimizer.param_groups for parameter in group['params']]
    given = [number for group in state['param_groups'] for number in group['params']]
    if len(own) != len(given):
        return state  # the optimizer says so
    like = dict(zip(given, own, strict=True))
    cut = {
        number: {key: _cut(value, like[number]) for key, value in entry.items()}
        for number, entry in state['state'].items()
    }
    return {**state, 'state': cut}


def gather(value: Any) -> Any:
    """Nested containers with whole tensors in place of parts: on the CPU of the main process; nothing on the others.

    All processes have to call it, with containers alike.
    """
    if isinstance(value, DTensor):
        whole = value.full_tensor().detach()
        return whole.cpu() if is_main_process() else None
    if isinstance(value, Mapping):
        return {key: gather(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gather(item) for item in value)
    return value


@contextmanager
def whole_states(model: nn.Module, optim_wrapper: OptimWrapper | None) -> Iterator[None]:
    """In the block, state dicts of a sharded model and its optimizer are whole on the main process.

    All processes have to enter it.

    Args:
        model: The model.
        optim_wrapper: Around the optimizer; None leaves it out.
    """
    if not is_sharded(model):
        yield
        return
    weights = gather(model.state_dict())
    states = None if optim_wrapper is None else gather(optim_wrapper.optimizer.state_dict())
    hooks = [model.register_state_dict_post_hook(lambda module, state, prefix, meta: state.update(weights))]
    if optim_wrapper is not None:
        hooks.append(optim_wrapper.optimizer.register_state_dict_post_hook(lambda optimizer, state: states))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def clip_norm(
    parameters: Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """``clip_grad_norm_`` for parameters of which some are spread and some are whole.

    Args:
        parameters: Their gradients are scaled in place.
        max_norm: Of all gradients together.
        norm_type: The p of the norm; ``inf`` is known.
        error_if_nonfinite: Whether a norm that is infinite or no number is an error.
        foreach: See ``torch.nn.utils.clip_grad_norm_``.

    Returns:
        The norm before.

    Raises:
        RuntimeError: On all processes, before any gradient is scaled, if the norm is such an error.
    """
    norm_type = float(norm_type)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    device = torch.device(get_device())
    own = torch.nn.utils.get_total_norm(parts, norm_type, foreach=foreach).to(device, torch.float32)
    every = own.new_empty(distributed.get_world_size())
    distributed.all_gather_into_tensor(every, own.reshape(1))
    rest = torch.nn.utils.get_total_norm(whole, norm_type, foreach=foreach).to(device, torch.float32)
    total = torch.linalg.vector_norm(torch.cat([every, rest.reshape(1)]), norm_type)
    if error_if_nonfinite and not torch.isfinite(total):
        raise RuntimeError(
            f'the norm of order {norm_type:g} of all gradients is {total.item()}, so they cannot be clipped; without '
            'error_if_nonfinite in optim_wrapper.clip_grad they would be scaled by it.'
        )
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for gradient in (*parts, *whole):
        gradient.mul_(factor)
    return total


@torch.no_grad()
def touch(model: nn.Module) -> None:
    """Let caches of text see that weights have changed.

    They watch the version of each parameter, and that of the whole one, which is put together anew for each pass, does
    not count the steps of the optimizer on its slices. One region at a time is whole: the model need not fit.

    Args:
        model: A sharded model. All processes have to call this.
    """
    let_go(model)
    for module in model.modules():
        if not isinstance(module, FSDPModule):
            continue
        module.unshard()
        for parameter in module.parameters():
            if parameter.requires_grad and not isinstance(parameter, DTensor):  # slices belong to inner regions
                parameter.mul_(1.0)
        module.reshard()


def let_go(model: nn.Module) -> None:
    """Keep slices only; a forward pass without a backward pass leaves what belongs to no region whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
