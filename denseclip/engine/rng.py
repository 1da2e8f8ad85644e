"""Random number generators of one process as data: capture, restore, and seeding that leaves no trace.

Four generators drive a training run: Python's ``random``, NumPy's global state, torch's CPU generator and one
generator per CUDA device. A checkpoint that lacks any of them cannot continue a run exactly.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RngState = dict[str, Any]


def capture_rng_state(*, cuda: bool = True) -> RngState:
    """Read the state of every generator of this process.

    The result holds only tensors, numbers, strings and lists, so that a checkpoint with it opens under
    ``torch.load(weights_only=True)``.

    Args:
        cuda: Also read the generators of all CUDA devices (only if CUDA is in use).

    Returns:
        A dictionary for :func:`restore_rng_state`.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  (augmentations of the host use the global state)
    state: RngState = {
        'python': {'version': version, 'words': torch.tensor(words, dtype=torch.int64), 'gauss': gauss},
        'numpy': {
            'name': str(name),
            'keys': torch.from_numpy(np.asarray(keys).astype(np.int64)),
            'position': int(position),
            'has_gauss': int(has_gauss),
            'cached_gaussian': float(cached),
        },
        'torch': torch.get_rng_state(),
    }
    if cuda and torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = [generator_state.cpu() for generator_state in torch.cuda.get_rng_state_all()]
    return state


def restore_rng_state(state: RngState) -> None:
    """Put every generator of this process into a captured state.

    Args:
        state: What :func:`capture_rng_state` returned; its tensors may meanwhile lie on another device.
    """
    python, numpy_state = state['python'], state['numpy']
    words = tuple(python['words'].tolist())
    random.setstate((python['version'], words, python['gauss']))
    keys = numpy_state['keys'].cpu().numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002
        (
            numpy_state['name'],
            keys,
            numpy_state['position'],
            numpy_state['has_gauss'],
            numpy_state['cached_gaussian'],
        )
    )
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        devices = range(min(len(state['cuda']), torch.cuda.device_count()))
        for device in devices:
            torch.cuda.set_rng_state(state['cuda'][device].cpu(), device)


@contextmanager
def isolated_rng(seed: tuple[int, ...] | None = None, *, cuda: bool = False) -> Iterator[None]:
    """Run a block whose random draws do not change the surrounding ones.

    Args:
        seed: Non-negative integers that determine the draws inside the block; ``None`` keeps the current states.
        cuda: Also protect the CUDA generators (they are not seeded: data loading never draws from them).
    """
    outside = capture_rng_state(cuda=cuda)
    try:
        if seed is not None:
            words = np.random.SeedSequence(_entropy(seed)).generate_state(4, dtype=np.uint64)
            random.seed(int(words[0]))
            np.random.seed(words[1:3].view(np.uint32))  # noqa: NPY002
            # Not ``torch.manual_seed``: that one reseeds the CUDA devices too.
            torch.default_generator.manual_seed(int(words[3] >> np.uint64(1)))
        yield
    finally:
        restore_rng_state(outside)


def _entropy(seed: tuple[int, ...]) -> int:
    """Another number for every tuple: NumPy alone takes ``(0,)`` and ``(0, 0)`` for the same seed.

    Raises:
        ValueError: If a number is negative.
    """
    if any(number < 0 for number in seed):
        raise ValueError(f'a seed consists of non-negative integers, got {seed}.')
    text = ','.join(str(int(number)) for number in seed)
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), 'big')
