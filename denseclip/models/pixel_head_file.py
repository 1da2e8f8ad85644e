"""Files of heads that were made of a few labelled pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.weights.errors import WeightFileError
from denseclip.weights.io import read_safetensors
from denseclip.weights.writing import write_safetensors

from .pixel_head import PixelGDAHead

KIND = 'denseclip pixel head'
_TENSORS = ('means', 'precision', 'priors', 'quantiles')


def write_head(head: PixelGDAHead, path: str | Path) -> Path:
    """Write a head as safetensors; an interruption leaves the old file or the new one.

    Args:
        head: The head.
        path: The file; its folder is created.

    Raises:
        OSError: It cannot be written; one line names the file.
    """
    about = {
        'kind': KIND,
        'version': 1,
        'names': list(head.names),
        'alpha': head.alpha,
        'space': dict(head.space),
        'vocabulary': head.vocabulary.to_dict(),
        'facts': dict(head.facts),
    }
    return write_safetensors({name: getattr(head, name).float() for name in _TENSORS}, path, about)


def read_head(path: str | Path) -> PixelGDAHead:
    """Read a head; the file is data, nothing in it is run.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightFileError: If it is no head, or damaged.
    """
    found = read_safetensors(path)
    state, meta = found.state_dict, found.meta
    if meta.get('kind') != KIND:
        raise WeightFileError(f"'{path}' is no head of 'denseclip adapt': make one of a folder of labelled pictures.")
    try:
        about: dict[str, Any] = {key: _plain(meta[key]) for key in ('names', 'alpha', 'space', 'vocabulary', 'facts')}
        tensors = {name: state[name] for name in _TENSORS}
        _check(about, tensors)
        vocabulary = Vocabulary.of(about.pop('vocabulary'))
        names = tuple(str(name) for name in about.pop('names'))
        fields: dict[str, Any] = {**tensors, **about}
        return PixelGDAHead(names=names, vocabulary=vocabulary, **fields)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightFileError(f"'{path}' is a damaged head ({error}): make it anew with 'denseclip adapt'.") from error


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _check(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse numbers that do not fit together.

    Raises:
        ValueError: Then.
    """
    count, dim = len(about['names']), tensors['means'].shape[-1]
    shapes = {'means': (count, dim), 'precision': (dim, dim), 'priors': (count,)}
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f'{name} has the shape {tuple(tensors[name].shape)}, not {shape}')
    if tensors['quantiles'].ndim != 1 or not len(tensors['quantiles']):
        raise ValueError('quantiles are no list of numbers')
    if not isinstance(about['space'], dict) or not isinstance(about['facts'], dict):
        raise ValueError('space and facts are no tables')
    if not 0 <= float(about['alpha']) < 1e9:
        raise ValueError(f'alpha is {about["alpha"]}')
