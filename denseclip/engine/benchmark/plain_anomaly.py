"""AnoVL's image score in the order of its authors' code, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from denseclip.models.anomaly import dual_path as dual_path_module
from denseclip.models.anomaly.dual_path import dual_path
from denseclip.models.functional.anomaly_scores import abnormal_probability
from denseclip.models.functional.anomaly_views import picture_views

from .patching import wrapped

PLAIN_MEANS = (
    'the picture once for the map and all 22 views, itself among them, for the score: 23 passes of one picture, each '
    'with both attentions in every block and with the embeddings of all patches; attention matrices written out'
)


@contextmanager
def plain_views(model: Any) -> Iterator[None]:
    """Run AnoVL as its authors' code does, as long as the context lasts."""
    with ExitStack() as stack:
        stack.enter_context(wrapped(dual_path_module, 'attend', lambda _: _attention))
        stack.enter_context(wrapped(model, 'view_scores', lambda scores: _one_by_one(model, scores)))
        yield


def _attention(q: Tensor, k: Tensor, v: Tensor, kind: str) -> Tensor:
    """``softmax(left right^T / sqrt(d)) v`` in three steps; ``kind`` is ``'qk'``, ``'vv'`` and so on."""
    parts = {'q': q, 'k': k, 'v': v}
    weights = parts[kind[0]] * q.shape[-1] ** -0.5 @ parts[kind[1]].transpose(-1, -2)
    return weights.softmax(dim=-1) @ v


def _one_by_one(model: Any, scores: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(tiles: Tensor, pooled: Tensor, text: Any) -> Tensor:
        if not model.views:
            return scores(tiles, pooled, text)
        views = picture_views(tiles).flatten(0, 1)
        embeddings = [
            dual_path(model.image_tower, view[None], model.dual_layers, model.attention).pooled.float()
            for view in views
        ]
        return abnormal_probability(torch.cat(embeddings).unflatten(0, (len(tiles), -1)), text.states)

    return run
