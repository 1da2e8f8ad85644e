"""Weights that a config names: read once, when they are needed, and whenever a checkpoint comes without them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from denseclip.core.values import has_values
from denseclip.weights import WeightMismatchError

if TYPE_CHECKING:
    from denseclip.clip.preprocess import PreprocessSpec
    from denseclip.models.open_clip_parts import OpenCLIPParts


class LazyWeights:
    """Mix-in of modules whose weights, or a part of them, have a source of their own.

    They are read at the first use, so that a test never asks for a teacher's. After :meth:`watch_loading`, a checkpoint
    that brings them replaces the source, and one that lacks some of them has the source read before it is loaded: no
    way of loading (strict, lenient, MMEngine's own) leaves them random.

    Attributes:
        sourced_prefixes: Names of the parameters that come from the source, relative to this module.
        sourced_is_frozen: They are never trained, so that even a strict load does without them.
        may_be_fresh: Fresh weights are a choice, to be trained; otherwise a checkpoint must bring what has no source.
    """

    sourced_prefixes: tuple[str, ...] = ()
    sourced_is_frozen = True
    may_be_fresh = False
    _has_weights = False
    brought_by_checkpoint = False

    def watch_loading(self) -> None:
        """Look at every checkpoint that is loaded, before it is; to be called once, by the constructor."""
        self.register_load_state_dict_pre_hook(_before_load)  # type: ignore[attr-defined]

    @property
    def has_source(self) -> bool:
        """Whether the weights can be had again without a checkpoint."""
        return True

    @property
    def has_weights(self) -> bool:
        """Whether the present weights are more than fresh ones."""
        return self._has_weights

    def read_weights(self) -> None:
        """Read the weights of this module; called once."""

    def need_weights(self) -> None:
        """Read the weights unless that was done, or a checkpoint has brought others."""
        if self.has_source and not self.has_weights:
            self.read_weights()
            self._has_weights = True
            self.weights_changed()

    def forget_pretrained(self) -> None:
        """Keep the present weights, whatever the config names."""
        self._has_weights = True

    def weights_changed(self) -> None:
        """Forget what was computed with other weights."""

    def sourced_names(self) -> list[str]:
        """Tensors that come from the source, relative to this module."""
        held = tensors_under(self, self.sourced_prefixes)  # type: ignore[arg-type]
        # Files older than PyTorch 0.4.1 have no batch counter; it plays no part in the result.
        return [name for name in held if not name.endswith('num_batches_tracked')]


class CLIPOwner(LazyWeights):
    """Mix-in of models around an :class:`OpenCLIPParts`, which knows where CLIP's weights are."""

    text: Any
    tower_sees_input = False
    """Whether CLIP's image tower takes what the data preprocessor gives; others bring pictures to its colours."""
    _parts: list[OpenCLIPParts]

    def own(self, parts: OpenCLIPParts) -> None:
        """Take a CLIP model; to be called once, by the constructor."""
        self._parts = [parts]  # in a list, so that the open_clip model is no second child with the same parameters
        self.watch_loading()
        if self.tower_sees_input:
            warn_of_other_normalization(self, parts.clip.preprocess)

    @property
    def parts(self) -> OpenCLIPParts:
        """The CLIP model that the towers belong to."""
        return self._parts[0]

    @property
    def has_source(self) -> bool:
        """See :class:`LazyWeights`."""
        return self.parts.has_source

    @property
    def has_weights(self) -> bool:
        """See :class:`LazyWeights`."""
        return self.parts.has_weights

    def read_weights(self) -> None:
        """Read the CLIP weights that the config names."""
        self.parts.load()

    def forget_pretrained(self) -> None:
        """Keep the present weights, whatever the config names."""
        self.parts.has_weights = True

    def weights_changed(self) -> None:
        """Forget encoded text."""
        text = getattr(self, 'text', None)
        if text is not None:
            text.clear()

    def init_weights(self) -> None:
        """Read the CLIP weights named in the config, once."""
        self.need_weights()
        initialise = getattr(super(), 'init_weights', None)
        if initialise is not None:
            initialise()


def warn_of_other_normalization(model: Any, spec: PreprocessSpec | None, who: str | None = None) -> None:
    """Warn when a model's data preprocessor contradicts the normalisation that its weights were trained with.

    Args:
        model: The model; one without a data preprocessor that normalises is left alone.
        spec: What the weights expect; None: unknown.
        who: Has the weights, for the message; None: the model.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    if spec is None or not getattr(preprocessor, '_enable_normalize', False):
        return
    mean, std = preprocessor.mean.flatten(), preprocessor.std.flatten()  # type: ignore[union-attr]
    if not has_values(mean):  # built without data, under the meta device or fake tensors
        return
    conflict = spec.conflict(mean.tolist(), std.tolist())
    if conflict is not None:
        warnings.warn(f'{who or type(model).__name__}: {conflict}', stacklevel=4)


def _before_load(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    names = module.sourced_names()
    lacking = [name for name in names if prefix + name not in state]
    module.weights_changed()
    if len(lacking) < len(names):
        module.brought_by_checkpoint = True
    if not lacking:
        module.forget_pretrained()
        return
    if not (module.has_weights or module.has_source or module.may_be_fresh):
        more = ' ...' if len(lacking) > 5 else ''
        raise WeightMismatchError(
            f'the checkpoint lacks {len(lacking)} of the {len(names)} CLIP tensors of {type(module).__name__} '
            f'({", ".join(prefix + name for name in lacking[:5])}{more}), and the config names no weights to take them '
            'from: give clip.pretrained (an open_clip tag or a file), or a checkpoint that holds them. Where fresh '
            'weights are meant, call forget_pretrained() before.'
        )
    module.need_weights()
    if module.sourced_is_frozen and len(lacking) == len(names):
        state.update({prefix + name: value for name, value in tensors_under(module, module.sourced_prefixes).items()})


def tensors_under(module: nn.Module, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """A module's parameters and buffers of these prefixes, also those that its own state dict leaves out."""
    held = {name: parameter.detach() for name, parameter in module.named_parameters(recurse=False)}
    for name, child in module.named_children():
        held.update(child.state_dict(prefix=f'{name}.'))
    return {name: value for name, value in held.items() if name.startswith(prefixes)}


def from_source(model: nn.Module, state: Iterable[str], *, frozen_only: bool) -> tuple[str, ...]:
    """Prefixes of parts that are read from their own source because a checkpoint lacks them.

    Args:
        model: The model.
        state: Names that the checkpoint holds.
        frozen_only: Only the parts that a strict load does without: frozen, and wholly absent.
    """
    given, found = set(state), []
    for place, module in model.named_modules():
        if not isinstance(module, LazyWeights) or not module.has_source:
            continue
        start = f'{place}.' if place else ''
        names = [start + name for name in module.sourced_names()]
        present = sum(name in given for name in names)
        if not frozen_only or (module.sourced_is_frozen and not present):
            found += [start + prefix for prefix in module.sourced_prefixes]
    return tuple(found)
