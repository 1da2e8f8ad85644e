"""From a training checkpoint to a file for others: weights only, as safetensors, small."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip.files.provenance import provenance

from .io import read_state_dict
from .usable import require_usable
from .writing import usable_target, write_safetensors

# Norms, biases and batch statistics stay in float32: they weigh nothing, and a small variance underflows in float16.
_HALF_FROM_ELEMENTS = 4096


@dataclass(frozen=True)
class Published:
    """A written file.

    Attributes:
        path: Where it is.
        sha256: Checksum of the whole file, hexadecimal.
        size: Bytes.
    """

    path: Path
    sha256: str
    size: int


def to_half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store large floating-point tensors in half precision.

    Args:
        state: a state dict.

    Returns:
        The same names; tensors of at least 4,096 float32 elements as float16.

    Raises:
        ValueError: if a value is too large for float16 (65,504).
    """
    small = {}
    for name, value in state.items():
        if value.dtype == torch.float32 and value.numel() >= _HALF_FROM_ELEMENTS:
            half = value.half()
            if not torch.isfinite(half).all():
                raise ValueError(f'"{name}" holds values that float16 cannot represent; publish it in full precision.')
            value = half
        small[name] = value.contiguous()
    return small


def publish(
    checkpoint: str | Path,
    out: str | Path,
    *,
    half: bool = True,
    metadata: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Published:
    """Write the weights of a checkpoint for release.

    Optimizer, schedules and random states are left out, and so are frozen towers that the model does not store.

    Args:
        checkpoint: a file that :func:`denseclip.weights.read_state_dict` reads.
        out: the safetensors file to write.
        half: store large tensors in half precision.
        metadata: short facts to store in the file (config, licence, ...), beside its provenance.
        trust: read a pickle even if that runs code in it.

    Returns:
        Path, checksum and size.

    Raises:
        FileExistsError: if ``out`` exists.
        ValueError: if ``out`` does not end in ``.safetensors``, or float16 cannot hold a value.
    """
    out = Path(out)
    if out.suffix != '.safetensors':
        raise ValueError(f'"{out}" must end in .safetensors.')
    if out.exists():
        raise FileExistsError(f'"{out}" exists; remove it or choose another name.')
    usable_target(out)
    state = read_state_dict(checkpoint, trust=trust)
    require_usable(state, checkpoint)
    path = write_safetensors(to_half(state) if half else state, out, {**provenance(checkpoint), **(metadata or {})})
    content = path.read_bytes()
    return Published(path, hashlib.sha256(content).hexdigest(), len(content))
