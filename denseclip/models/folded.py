"""Batch norms and uneven padding folded into the convolutions beside them, for prediction and for frozen stages.

A norm with fixed statistics is a scale and a shift of each channel; the filters can carry both. So can they carry the
row and column by which TensorFlow's padding is uneven: as zeros, where a padded copy of the maps takes twice as long as
the convolution. The activation behind belongs to the convolution, too (:mod:`denseclip.core.packed_conv`), and maps
stay channels last, in which enlarging them takes a quarter of the time on a CPU.
EfficientNet-Lite0 takes half of the time so, and its features move by 4e-6 of their size.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from denseclip.core.depthwise import DepthwiseConv2d, pads_as_tensorflow
from denseclip.core.packed_conv import PackedConv, can_pack
from denseclip.core.regions import runs_as_written

_PAIRS = {
    'EfficientNet': (('conv_stem', 'bn1'),),
    'MobileNetV3': (('conv_stem', 'bn1'),),
    'ConvBnAct': (('conv', 'bn1'),),
    'DepthwiseSeparableConv': (('conv_dw', 'bn1'), ('conv_pw', 'bn2')),
    'InvertedResidual': (('conv_pw', 'bn1'), ('conv_dw', 'bn2'), ('conv_pwl', 'bn3')),
    'EdgeResidual': (('conv_exp', 'bn1'), ('conv_pwl', 'bn2')),
}
"""timm's modules by their names (nothing needs to import them), and the norms that directly follow a convolution."""


def can_fold(network: nn.Module) -> bool:
    """Whether there is something to fold: a network of timm, or layers of mmcv."""
    return any(_pairs_of(module) or _is_layer(module) for module in network.modules())


class Folding:
    """What a network is in prediction: its folded copy, made anew whenever a weight was changed.

    It is no part of a state, and copies of a model make their own.

    Args:
        network: Asked once whether there is something to fold.
    """

    def __init__(self, network: nn.Module) -> None:
        self.possible = can_fold(network)
        self._made: tuple[Any, nn.Module] | None = None

    def of(self, network: nn.Module, x: Tensor) -> Any:
        """The network to call with a tensor: itself where gradients are wanted or a graph is made of it.

        Args:
            network: That of the constructor, or its copy in a copy of the model.
            x: Any tensor that goes into it.
        """
        if network.training or not self.possible:
            self._made = None  # weights may change there unseen, as averages of them do
            return network
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or type(x) is not Tensor:
            return network
        if not runs_as_written(network):
            return network
        state = state_of(network)
        if self._made is None or self._made[0] != state:
            self._made = state, folded(network)
        return self._made[1]

    def forget(self) -> None:
        """Free the copy."""
        self._made = None

    def __deepcopy__(self, memo: Any) -> Folding:
        twin = copy.copy(self)
        twin.forget()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_made': None}


def folded(network: nn.Module) -> Any:
    """A copy for prediction: no gradients, and statistics as they are now.

    Args:
        network: Of timm, or of mmcv's layers; not changed.
    """
    with torch.no_grad():
        twin = copy.deepcopy(network).eval().requires_grad_(False)
        twin.__dict__.pop('forward', None)  # of whoever watches the network itself
        for module in list(twin.modules()):
            for conv, norm in _pairs_of(module):
                for name, part in zip((conv, norm), _fold(getattr(module, conv), getattr(module, norm)), strict=True):
                    setattr(module, name, part)
        for module in list(twin.modules()):
            for name, child in module.named_children():
                if pads_as_tensorflow(child) and _is_simple(child):
                    setattr(module, name, _FoldedConv(child, nn.Identity()))
                elif _is_layer(child):
                    layer: Any = child
                    conv = fuse_conv_bn_eval(layer.conv, layer.norm) if layer.with_norm else layer.conv
                    setattr(module, name, _FoldedConv(conv, layer.activate if layer.with_activation else nn.Identity()))
    return twin


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Module, nn.Module]:
    """A convolution that does the work of the norm behind it, and what is left for the norm's place."""
    own, after = fuse_conv_bn_eval(conv, norm), getattr(norm, 'act', nn.Identity())
    if _is_simple(own) and can_pack(after):  # timm's norms hold the activation, too
        return _FoldedConv(own, after), nn.Identity()
    return own, after


class FrozenStages:
    """Folds what is frozen in a network that trains: a stem and first stages, as a rule.

    Nothing of it changes from step to step, so it is folded once, and again when a weight or a statistic did change.
    """

    def __init__(self) -> None:
        self._folded: dict[str, tuple[Any, tuple[nn.Module, ...]]] = {}

    def folded_in(self, trunk: nn.Module) -> Any:
        """The network with its frozen parts folded; what trains is the network's own modules.

        Args:
            trunk: Network of timm; not changed.
        """
        return self._with_folded(trunk, '')

    def _with_folded(self, module: Any, prefix: str) -> Any:
        new: dict[str, nn.Module] = {}
        for conv, norm in _pairs_of(module):
            pair = getattr(module, conv), getattr(module, norm)
            if all(map(_is_frozen, pair)):
                new.update(zip((conv, norm), self._once(prefix + conv, pair, _folded_pair), strict=True))
        for name, child in module.named_children():
            if name in new or next(child.parameters(), None) is None:
                continue
            if _is_frozen(child):
                if can_fold(child):
                    new[name] = self._once(prefix + name, (child,), _folded_alone)[0]
            elif (twin := self._with_folded(child, f'{prefix}{name}.')) is not child:
                new[name] = twin
        if not new:
            return module
        twin = copy.copy(module)
        twin._modules = {**module._modules, **new}
        return twin

    def _once(self, name: str, parts: tuple[Any, ...], fold: Callable[..., tuple[nn.Module, ...]]) -> Any:
        state = tuple(map(state_of, parts))
        if name not in self._folded or self._folded[name][0] != state:
            self._folded[name] = state, fold(*parts)
        return self._folded[name][1]


def _folded_alone(module: nn.Module) -> tuple[nn.Module]:
    return (folded(module),)


def _folded_pair(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Module, nn.Module]:
    with torch.no_grad():
        return _fold(conv, norm)


def _is_frozen(module: nn.Module) -> bool:
    """Whether nothing in a module trains, statistics included."""
    return not (any(p.requires_grad for p in module.parameters()) or any(m.training for m in module.modules()))


class _FoldedConv(nn.Module):
    """A convolution, with TensorFlow's padding if it is timm's ``Conv2dSame``, and what follows it.

    Args:
        conv: See :func:`_is_simple`.
        activation: What follows.
    """

    def __init__(self, conv: Any, activation: nn.Module) -> None:
        super().__init__()
        self.same = pads_as_tensorflow(conv)
        self.padding: Any = conv.padding
        self.conv = PackedConv(conv.weight, conv.bias, conv.stride, conv.groups, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to maps; with TensorFlow's padding, of ``ceil(H / stride)`` by ``ceil(W / stride)`` places."""
        if not self.same:
            return self.conv(x, self.padding)
        conv = self.conv
        sides = zip(x.shape[2:], conv.weight.shape[2:], conv.stride, strict=True)
        pads = [max((-(-size // step) - 1) * step + kernel - size, 0) for size, kernel, step in sides]
        # The odd row or column lies at the end: even padding has one too many before.
        down, across = (pad - pad // 2 for pad in pads)
        return conv(x, (down, across), (pads[0] % 2, pads[1] % 2))


def _is_simple(conv: Any) -> bool:
    """Whether it is nothing but a convolution, or timm's ``Conv2dSame``, without dilation."""
    if type(conv) not in (nn.Conv2d, DepthwiseConv2d) and not pads_as_tensorflow(conv):
        return False
    return conv.dilation == (1, 1) and conv.padding_mode == 'zeros' and not isinstance(conv.padding, str)


def state_of(network: nn.Module) -> tuple[Any, ...]:
    """What changes with any weight of a network, its type or its device."""
    return tuple(
        (id(t), 0 if t.is_inference() else t._version, t.dtype, t.device, t.stride())
        for module in network.modules()
        for t in (*module._parameters.values(), *module._buffers.values())
        if t is not None
    )


def _is_layer(module: Any) -> bool:
    """Whether it is mmcv's ``ConvModule`` of a convolution and, if there are any, a norm and an activation."""
    if type(module).__name__ != 'ConvModule' or not type(module).__module__.startswith('mmcv.'):
        return False
    return (
        module.order == ('conv', 'norm', 'act')
        and not module.with_explicit_padding
        and not module.with_spectral_norm
        and _is_simple(module.conv)
        and (not module.with_norm or _has_statistics(module.norm))
        and can_pack(module.activate if module.with_activation else nn.Identity())
    )


def _has_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm) and norm.track_running_stats


def _pairs_of(module: nn.Module) -> list[tuple[str, str]]:
    if not type(module).__module__.startswith('timm.'):
        return []
    return [
        (conv, norm)
        for conv, norm in _PAIRS.get(type(module).__name__, ())
        if isinstance(getattr(module, conv, None), nn.Conv2d)
        and isinstance(getattr(module, norm, None), nn.BatchNorm2d)
    ]
