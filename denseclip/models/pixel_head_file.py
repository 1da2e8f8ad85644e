"""Files of heads that were made of a few labelled pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.names import shown
from denseclip.files.provenance import provenance
from denseclip.models.functional.picture_classifier import PictureFit
from denseclip.weights.errors import WeightFileError
from denseclip.weights.io import read_safetensors
from denseclip.weights.writing import write_safetensors

from .pixel_head import PixelGDAHead, differing, feature_space
from .retrieval_head import PixelRNSHead

KIND = 'denseclip pixel head'
AnyPixelHead = PixelGDAHead | PixelRNSHead
"""Heads that files hold."""
_TENSORS = {'gda': ('means', 'precision', 'priors', 'quantiles'), 'rns': ('regions', 'owners')}
_MOST_STEPS = 100_000  # a file may not keep a machine busy for ever
_COMMON = ('names', 'space', 'vocabulary', 'facts')


def write_head(head: AnyPixelHead, path: str | Path) -> Path:
    """Write a head as safetensors; an interruption leaves the old file or the new one.

    Args:
        head: The head.
        path: The file; its folder is created.

    Raises:
        OSError: It cannot be written; one line names the file.
    """
    own = {'alpha': head.alpha} if isinstance(head, PixelGDAHead) else {'fit': asdict(head.fit)}
    method = 'gda' if isinstance(head, PixelGDAHead) else 'rns'
    about = {
        **provenance(),
        'kind': KIND,
        'version': 1,
        'method': method,
        'names': list(head.names),
        'space': dict(head.space),
        'vocabulary': head.vocabulary.to_dict(),
        'facts': dict(head.facts),
        **own,
    }
    tensors = {name: getattr(head, name) for name in _TENSORS[method]}
    return write_safetensors({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, path, about)


def read_head(path: str | Path) -> AnyPixelHead:
    """Read a head; the file is data, nothing in it is run.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightFileError: If it is no head, damaged, or of a method that this version does not know.
    """
    found = read_safetensors(path)
    state, meta = found.state_dict, found.meta
    if meta.get('kind') != KIND:
        raise WeightFileError(f"'{path}' is no head of 'denseclip adapt': make one of a folder of labelled pictures.")
    method = str(meta.get('method', 'gda'))  # heads were written before there were two
    if method not in _TENSORS:
        raise WeightFileError(
            f"'{path}' is a head by the method {shown(method)}; this version knows {', '.join(_TENSORS)}: make it anew "
            "with 'denseclip adapt'."
        )
    own = 'alpha' if method == 'gda' else 'fit'
    try:
        about: dict[str, Any] = {key: _plain(meta[key]) for key in (*_COMMON, own)}
        tensors = {name: state[name] for name in _TENSORS[method]}
        (_check if method == 'gda' else _check_regions)(about, tensors)
        about['vocabulary'] = Vocabulary.of(about['vocabulary'])
        about['names'] = tuple(str(name) for name in about['names'])
        fields: dict[str, Any] = {**tensors, **about}
        if method == 'gda':
            return PixelGDAHead(**fields)
        return PixelRNSHead(**{**fields, 'fit': PictureFit(**about['fit'])})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightFileError(f"'{path}' is a damaged head ({error}): make it anew with 'denseclip adapt'.") from error


_WHAT = {'model': 'another kind of model', 'read_out': 'another read-out of its tower', 'tower': 'other weights'}


def why_unfit(model: Any, head: AnyPixelHead, name: str, vocabulary: Vocabulary) -> str | None:
    """Why a head cannot correct a model's scores of some words; one sentence, None: it can.

    Args:
        model: A segmentor with ``has_pixel_features``.
        head: The head.
        name: What to call it.
        vocabulary: The words.
    """
    apart = differing(head.space, feature_space(model))
    if apart:
        was = ' and '.join(_WHAT[key] for key in apart if key != 'tower' or len(apart) == 1)
        return (
            f'{name} was made with {was} ({head.space.get("model")}): load that model, or make a head for this one '
            "with 'denseclip adapt'."
        )
    if not len(head.classes_of(vocabulary)[0]):
        return (
            f'{name} knows {", ".join(map(shown, head.names[:10]))}; none of these is among the classes '
            f'{", ".join(map(shown, vocabulary.names[:10]))}: call one of them so, or give it so as a further name.'
        )
    return None


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
    _check_tables(about)
    if not 0 <= float(about['alpha']) < 1e9:
        raise ValueError(f'alpha is {about["alpha"]}')


def _check_regions(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse regions that do not fit together.

    Raises:
        ValueError: Then.
    """
    regions, owners = tensors['regions'], tensors['owners']
    if regions.ndim != 2 or not len(regions) or not bool(regions.isfinite().all()):
        raise ValueError('regions are no table of numbers')
    if tuple(owners.shape) != (len(regions),) or owners.dtype != torch.int64:
        raise ValueError(f'owners are no {len(regions)} whole numbers')
    if not 0 <= int(owners.min()) <= int(owners.max()) < len(about['names']):
        raise ValueError('owners name classes that are not there')
    _check_tables(about)
    if not isinstance(about['fit'], dict):
        raise ValueError('fit is no table')
    fit = PictureFit(**about['fit'])
    numbers = asdict(fit).items()
    bad = [key for key, value in numbers if isinstance(value, bool) or not isinstance(value, int | float)]
    bad += [key for key, value in numbers if key not in bad and not 0 <= value < 2**31]
    bad += [key for key in ('neighbours', 'steps', 'seed') if key not in bad and not isinstance(getattr(fit, key), int)]
    if bad or not fit.neighbours or fit.steps > _MOST_STEPS:
        raise ValueError(f'{(bad or ["neighbours or steps"])[0]} is out of range')


def _check_tables(about: Mapping[str, Any]) -> None:
    if not isinstance(about['space'], dict) or not isinstance(about['facts'], dict):
        raise ValueError('space and facts are no tables')
