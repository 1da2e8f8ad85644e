"""Copy tensors into a module, or say exactly why they do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from .errors import WeightMismatchError


@dataclass(frozen=True)
class LoadReport:
    """Names that :func:`load_into` left alone (both empty after a strict load)."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    strict: bool = True,
    source: str | Path | None = None,
    ignore: Iterable[str] = (),
) -> LoadReport:
    """Copy tensors into a module, or say exactly why they do not fit.

    Args:
        module: Receives the tensors.
        state: Name to tensor.
        strict: Every name must be present on both sides. Shapes must always agree.
        source: Where ``state`` came from, for the message.
        ignore: Name prefixes that may be missing or unexpected even in a strict load.

    Returns:
        The names that were left alone.

    Raises:
        WeightMismatchError: Naming missing, unexpected and wrongly shaped tensors (ten of each, with counts).
    """
    optional = tuple(ignore)
    saved = module.state_dict()
    # What a model leaves out of its own checkpoints may stand in others, and is loaded then.
    unsaved = {k: v for k, v in module.named_parameters() if k not in saved and k.startswith(optional)}
    own = {**saved, **unsaved}
    # Files older than PyTorch 0.4.1 have no batch counter; it plays no part in the result.
    missing = [k for k in saved if k not in state and not k.endswith('num_batches_tracked')]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f'{k} (file {tuple(v.shape)}, model {tuple(own[k].shape)})'
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    faults = {
        'missing': [k for k in missing if strict and not k.startswith(optional)],
        'unexpected': [k for k in unexpected if strict and not k.startswith(optional)],
        'of another shape': shapes,
    }
    if any(faults.values()):
        raise WeightMismatchError(_message(type(module).__name__, faults, source))
    module.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
    return LoadReport(tuple(missing), tuple(unexpected))


def _message(model: str, faults: dict[str, list[str]], source: str | Path | None) -> str:
    where = f"'{source}'" if source is not None else 'the given weights'
    lists = [f'{len(v)} {k}: {", ".join(v[:10])}{" ..." if len(v) > 10 else ""}' for k, v in faults.items() if v]
    return f'{where} do not fit {model}: {"; ".join(lists)}. {_hint(faults["missing"], faults["unexpected"])}'


def _hint(missing: list[str], unexpected: list[str]) -> str:
    """Guess the cure from the names: a prefix too many, a prefix too few, or a different model."""
    extra = _prefix_between(unexpected, missing)
    if extra:
        return f"The file's names carry the prefix '{extra}': strip it, or choose the converter for this file."
    lacking = _prefix_between(missing, unexpected)
    if lacking:
        return f"The file's names lack the prefix '{lacking}': it belongs to a part of this model."
    return 'Check that the file is for this architecture and size, or choose its converter (denseclip.weights.convert).'


def _prefix_between(longer: list[str], shorter: list[str]) -> str | None:
    """The prefix that turns most of ``shorter`` into names of ``longer``, if there is one."""
    if not shorter:
        return None
    probe = max(shorter, key=len)
    for name in longer:
        if name.endswith('.' + probe):
            prefix = name[: -len(probe)]
            if 2 * len({prefix + k for k in shorter} & set(longer)) > len(shorter):
                return prefix
    return None
