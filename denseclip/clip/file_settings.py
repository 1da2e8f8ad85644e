"""Activation and normalisation of weights in a file, which its tensors do not show."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip import pretrained as tags

from denseclip.weights import is_torchscript, resolve, weight_file

from .errors import UnknownModelError, nearest
from .folders import facts_beside
from .known_weights import entry_of
from .preprocess import PreprocessSpec

_LOOKS = ('mean', 'std', 'interpolation', 'resize_mode')
_TWIN = '-quickgelu'
_SAY = "pretrained=dict(source=FILE, tag='{tag}'), in Python load_clip(MODEL, FILE, tag='{tag}')"


@dataclass(frozen=True)
class FileSettings:
    """What belongs to weights beside their tensors.

    Attributes:
        quick_gelu: OpenAI's activation, or the exact GELU.
        preprocess: Mean, std, interpolation, resize mode, as far as they are known.
    """

    quick_gelu: bool
    preprocess: Mapping[str, Any]


def tag_entry(names: Sequence[str], tag: str) -> dict[str, Any]:
    """open_clip's entry of a tag of one of these architectures, or that of other known weights.

    Raises:
        UnknownModelError: If none of them has it; the nearest is named.
    """
    for name in names:
        entry = tags.get_pretrained_cfg(name, tag)
        if entry:
            return dict(entry)
    other = entry_of(tag)
    if other is not None:
        return other
    known = sorted({t for name in names for t in tags.list_pretrained_tags_by_model(name)})
    raise UnknownModelError(
        f"open_clip has no tag '{tag}' of {', '.join(names) or 'this model'}; {nearest(tag, known)}"
    )


def file_settings(
    source: str | Path | None,
    names: Sequence[str],
    *,
    tag: str | None = None,
    quick_gelu: bool | None = None,
    default: bool = False,
) -> FileSettings:
    """Settings of weights in a file.

    In this order: the tag that the file is said to be of; the configuration in the file's folder; an OpenAI archive is
    OpenAI's. Otherwise the activation is a guess that is said aloud where the architecture exists with both, and mean
    and std are those that all tags of the architecture share; where tags disagree, the choices are named.

    Args:
        source: The file, in any form of :func:`denseclip.weights.resolve`; it need not exist yet. None for fresh
            weights: nothing is said then.
        names: Architectures of open_clip that the file may be of.
        tag: The tag that the file is of.
        quick_gelu: The activation, if the caller knows it.
        default: The activation otherwise.

    Raises:
        UnknownModelError: If the architecture has no such tag.
    """
    if tag is not None:
        entry = tag_entry(names, tag)
        return FileSettings(bool(entry.get('quick_gelu')) if quick_gelu is None else quick_gelu, entry)
    file = None if source is None else _existing(source)
    facts = None if file is None else facts_beside(file)
    if facts is not None:
        return FileSettings(facts.quick_gelu if quick_gelu is None else quick_gelu, facts.preprocess)
    if file is not None and is_torchscript(file):  # OpenAI's own
        return FileSettings(True if quick_gelu is None else quick_gelu, {})
    if quick_gelu is None:
        quick_gelu = default
        if file is not None:
            _say_activation(file, names, default)
    return FileSettings(quick_gelu, _shared_look(file, names, quick_gelu))


def _existing(source: str | Path) -> Path | None:
    try:
        return weight_file(resolve(source))
    except (OSError, ValueError, RuntimeError):  # said when it is read
        return None


def _say_activation(file: Path, names: Sequence[str], taken: bool) -> None:
    plain = next((n for n in names if f'{n}{_TWIN}' in open_clip.list_models()), None)
    if names and plain is None:
        return
    what = 'QuickGELU (as in the weights of OpenAI, MetaCLIP and DFN)' if taken else 'GELU (as in most weights)'
    cure = 'load it from a folder with an open_clip_config.json'
    if plain is not None:
        cure = f"name the architecture '{plain}' or '{plain}{_TWIN}', or say which weights these are: "
        cure += _SAY.format(tag=next(iter(tags.list_pretrained_tags_by_model(plain)), 'openai'))
    warnings.warn(
        f"'{file}' does not say which activation it was trained with; {what} is taken. To decide it, {cure}.",
        stacklevel=4,
    )


def _shared_look(file: Path | None, names: Sequence[str], quick_gelu: bool) -> Mapping[str, Any]:
    """Mean, std, interpolation and resize mode of all tags of the architectures with this activation."""
    entries = {t: tags.get_pretrained_cfg(n, t) for n in names for t in tags.list_pretrained_tags_by_model(n)}
    alike = {t: e for t, e in entries.items() if bool(e.get('quick_gelu')) == quick_gelu} or entries
    looks: dict[tuple[Any, ...], list[str]] = {}
    for tag, entry in alike.items():
        looks.setdefault(tuple(entry.get(key) for key in _LOOKS), []).append(tag)
    if not looks:
        return {}
    usual = PreprocessSpec()
    openai = tuple(getattr(usual, key) for key in _LOOKS)
    taken = openai if openai in looks else next(iter(looks))
    if len(looks) > 1 and file is not None:
        differ = [place for place in range(len(_LOOKS)) if len({look[place] for look in looks}) > 1]
        choices = [
            f'{", ".join(f"{_LOOKS[p]} {_short(look[p])}" for p in differ)} ({", ".join(found[:3])}'
            f'{" ..." if len(found) > 3 else ""})'
            for look, found in sorted(looks.items(), key=lambda item: item[0] != taken)
        ]
        warnings.warn(
            f"weights of {', '.join(names)} were trained on pictures prepared in different ways, and '{file}' does "
            f'not say how: {"; or ".join(choices)}. The first is taken. To decide it, say which weights these are: '
            f'{_SAY.format(tag=looks[taken][0])}.',
            stacklevel=4,
        )
    return {key: value for key, value in zip(_LOOKS, taken, strict=True) if value is not None}


def _short(value: Any) -> str:
    return f'[{", ".join(f"{v:.3f}" for v in value)}]' if isinstance(value, tuple | list) else str(value)
