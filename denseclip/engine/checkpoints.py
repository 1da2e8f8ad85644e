"""Reading checkpoints into a running training or test, strictly and without running anything that they contain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from denseclip.compat.addresses import is_address
from denseclip.core.lazy_weights import from_source

from ..weights import load_into, read_checkpoint, resolve, weight_file
from ..weights.convert import convert, denseclip, dinoiser, maft, sam3
from ..weights.errors import WeightMismatchError

ReviseKeys = Iterable[tuple[str, str]]


def read_training_file(source: str, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint with everything that MMEngine's Runner keeps in it.

    Args:
        source: A file (ours, MMEngine's, or the authors'), any source of :func:`denseclip.weights.resolve`, or a name
            that MMEngine knows (``open-mmlab://`` ...).
        trust: Allow a pickle that runs code while it is read.

    Returns:
        A dictionary with what the file holds (optimizer, message hub ...) and at least ``state_dict`` (the authors'
        names of DenseCLIP, CLIP-DINOiser, FC-CLIP, MAFT+ and SAM 3 already turned into ours) and ``meta``; never with
        a config that could be executed.

    Raises:
        FileNotFoundError: There is no such file.
        denseclip.weights.WeightFileError: It cannot be read.
        denseclip.weights.UntrustedWeightsError: Reading it would run code, and ``trust`` is False.
        denseclip.files.download.DownloadError: It cannot be fetched, or is not the file that its address names.
    """
    if '://' in source and not is_address(source):
        content = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        content = dict(content) if 'state_dict' in content else {'state_dict': dict(content)}
    else:
        path = weight_file(resolve(source))
        checkpoint = read_checkpoint(path, trust=trust)
        content = {**checkpoint.entries, 'state_dict': checkpoint.state_dict, 'meta': checkpoint.meta}
    content.setdefault('meta', {})
    _spell_out(content['meta'])
    _keep_plain(content['meta'])
    drop_config_text(content)
    for name, module in (('denseclip', denseclip), ('dinoiser', dinoiser), ('maft', maft), ('sam3', sam3)):
        if module.is_official(content['state_dict']):
            content['state_dict'] = convert(content['state_dict'], name)
    return content


def _spell_out(meta: dict[str, Any]) -> None:
    """Make data of ``dataset_meta``, which safetensors hold as JSON; what is no mapping says nothing."""
    found = meta.get('dataset_meta')
    if not isinstance(found, str):
        return
    try:
        found = json.loads(found)
    except (ValueError, RecursionError):
        found = None
    meta['dataset_meta'] = found if isinstance(found, dict) else {}


def _keep_plain(meta: dict[str, Any]) -> None:
    """Drop names that are not texts, and a palette that is not of colours: a stranger's file may say anything."""
    known = meta.get('dataset_meta')
    if not isinstance(known, Mapping):
        return
    fits = {'classes': lambda value: isinstance(value, str), 'palette': _is_colour}
    meta['dataset_meta'] = {
        key: value
        for key, value in known.items()
        if key not in fits or (isinstance(value, list | tuple) and all(map(fits[key], value)))
    }


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    )


def drop_config_text(checkpoint: dict[str, Any]) -> bool:
    """Remove ``meta['config']``, which MMEngine's ``Runner.resume`` executes as Python.

    Returns:
        Whether there was any.
    """
    meta = checkpoint.get('meta')
    return isinstance(meta, dict) and meta.pop('config', None) is not None


def not_saved_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Names that a checkpoint of this model may lack.

    A module whose weights are deliberately not stored (a frozen text tower that is loaded from its own source) says so
    with an attribute ``not_saved_prefixes``: prefixes of parameter names relative to itself, ``('',)`` for all of them.

    Args:
        model: The model.

    Returns:
        Prefixes relative to the model.
    """
    prefixes: list[str] = []
    for name, module in model.named_modules():
        own = getattr(module, 'not_saved_prefixes', ())
        prefixes += [f'{name}.{prefix}' if name else prefix for prefix in own]
    return tuple(prefix for prefix in prefixes if prefix)


def load_weights(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str | Path,
    strict: bool,
    revise_keys: ReviseKeys = ((r'^module\.', ''),),
) -> list[str]:
    """Load the weights of a checkpoint into the (unwrapped) model.

    Args:
        model: The model.
        state: Name to tensor.
        source: Where it came from, for messages.
        strict: Names and shapes must agree, except what the model declares in ``not_saved_prefixes``.
        revise_keys: Regular expressions and replacements for the names, as in MMEngine.

    Returns:
        Sentences about what a lenient load left alone.

    Raises:
        denseclip.weights.WeightMismatchError: The weights do not fit; missing and unexpected names are listed.
    """
    for pattern, replacement in revise_keys:
        state = {re.sub(pattern, replacement, key): value for key, value in state.items()}
    notes, given = [], len(state)
    if not strict:
        own = model.state_dict()
        other_shape = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
        state = {key: value for key, value in state.items() if key not in other_shape}
        known = tuple(not_saved_prefixes(model))  # loaded where a file has them, though never saved
        if given and not any(key in own or key.startswith(known) for key in state):
            raise WeightMismatchError(
                f"'{source}': none of its {given} tensors fits {type(model).__name__} by name and shape; it belongs to "
                'another model, or needs a converter (tools/convert_checkpoint.py)'
            )
        notes += _note('of another shape, left as initialised', other_shape)
    sourced = from_source(model, state, frozen_only=strict)
    ignore = (*not_saved_prefixes(model), *sourced)
    report = load_into(model, state, strict=strict, source=source, ignore=ignore)
    if not strict:
        initial = [key for key in report.missing if not key.startswith(ignore)]
        if initial and not given:
            raise WeightMismatchError(f"'{source}' holds no tensor, so nothing would start from it; name another file")
        notes += _note('not in the file, read from the weights that the config names', _from(report.missing, sourced))
        notes += _note('not in the file, left as initialised', initial)
        notes += _note('in the file but not in the model, ignored', report.unexpected)
    return notes


def _from(names: Iterable[str], prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.startswith(prefixes)]


def _note(what: str, keys: Iterable[str]) -> list[str]:
    names = list(keys)
    if not names:
        return []
    return [f'{len(names)} tensors {what}: {", ".join(names[:10])}{" ..." if len(names) > 10 else ""}']


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` in a work directory points to.

    Args:
        work_dir: Where a run was started.

    Returns:
        The file, looked for beside ``last_checkpoint`` first, as the folder may have been moved or copied; ``None`` if
        no run was saved there.

    Raises:
        FileNotFoundError: The file pointed to is gone.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(encoding='utf-8').strip())
    # Beside the pointer first: a copied folder goes on from its own file, not from the original's.
    for candidate in (Path(work_dir) / named.name, named):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"'{pointer}' points to '{named}', which does not exist: name another checkpoint (--resume PATH), or delete "
        f"'{pointer}' to start anew"
    )
