"""Converting a weight file as a whole: read, rename, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip.files.atomic import replacing
from denseclip.files.provenance import provenance

from .convert import CONVERTERS, convert
from .io import read_checkpoint
from .source import resolve, weight_file
from .usable import require_usable
from .writing import usable_target, write_safetensors

SUFFIXES = ('.safetensors', '.pth')


def convert_file(
    source: str | Path,
    target: str | Path,
    converter: str = 'denseclip',
    *,
    inverse: bool = False,
    trust: bool = False,
    force: bool = False,
) -> dict[str, Tensor]:
    """Convert a weight file; an interruption leaves no half file.

    Args:
        source: A file, or any source that :func:`denseclip.weights.resolve` knows.
        target: File to write, ``*.safetensors`` or ``*.pth``.
        converter: Whose names: one of ``denseclip.weights.convert.CONVERTERS``.
        inverse: From our names to theirs.
        trust: Read a pickle even if that runs code in it.
        force: Replace an existing target.

    Returns:
        What was written, name to tensor.

    Raises:
        FileExistsError: The target exists.
        OSError: The source is missing, or the target cannot be written.
        ValueError: The target is no such file, or the converter does not go this way.
        denseclip.weights.WeightMismatchError: The names do not fit the converter.
    """
    target = Path(target)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"the target '{target}' must end in {' or '.join(SUFFIXES)}.")
    if target.exists() and not force:
        raise FileExistsError(f"'{target}' exists; choose another name or pass --force.")
    usable_target(target)
    file = weight_file(resolve(source))
    checkpoint = read_checkpoint(file, trust=trust)
    require_usable(checkpoint.state_dict, str(source))
    state = convert(checkpoint.state_dict, converter, inverse=inverse)
    meta = {**checkpoint.meta, **provenance(file), 'converter': converter, 'inverse': int(inverse)}
    _write(target, state, meta, CONVERTERS[converter].wrapper if inverse else 'state_dict')
    return state


def _write(target: Path, state: dict[str, Tensor], meta: dict[str, Any], wrapper: str) -> None:
    """Tensors and what is known about them; in a PyTorch file under ``wrapper``, where its readers look for them."""
    if target.suffix == '.safetensors':
        plain = {key: value for key, value in meta.items() if isinstance(value, str | int | float | list | tuple)}
        write_safetensors(state, target, plain)
        return
    require_usable(state, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        torch.save({'meta': meta, wrapper: state}, partial)
