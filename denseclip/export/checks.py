"""Whether a written graph is the model: both run at sizes and numbers of classes that are not the example's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denseclip.core.placement import whole_multiples
from denseclip.export.errors import ExportError
from denseclip.export.graphs import example_text
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.region_graphs import RegionGraph
from denseclip.runtime.graphs import session

TOLERANCE = 1e-3
"""Of scores, relative to the largest; float32 of two libraries differs by about 1e-6."""


def check_image_graph(path: Path, model: ImageGraph, embed_dim: int | None, classes: int | None) -> float:
    """Compare the picture side.

    Args:
        path: The written graph.
        model: The model itself, as a function of pictures, and class embeddings where it has words.
        embed_dim: Numbers of a class embedding; None for models without words.
        classes: The only number of classes that the model takes; None: any.

    Returns:
        The largest relative difference.

    Raises:
        ExportError: If scores differ, or have another shape; a size of the example is in the graph then.
    """
    graph, worst = session(path, trust=True), 0.0
    numbers = torch.Generator(device='cpu').manual_seed(0)
    for count, *sides, some in model.cases:
        height, width = whole_multiples([max(side, model.least) for side in sides], model.multiple)
        feeds = [torch.randn(count, 3, height, width, generator=numbers, device='cpu')]
        names = ['images']
        if embed_dim is not None:
            feeds.append(example_text(classes or some, embed_dim, model.unit_text, numbers))
            names.append('text')
        more = model.more(height, width)
        feeds, names = [*feeds, *more.values()], [*names, *more]
        with torch.inference_mode():
            wanted = [part.numpy() for part in model(*feeds)]
        what = f'pictures {count} x {height} x {width}, {classes or some} classes'
        found = _run(graph, dict(zip(names, feeds, strict=True)), what)
        worst = max(worst, _check(partial(model.difference, found, wanted), what))
    return worst


def check_text_graph(path: Path, model: nn.Module, prompts: list[torch.Tensor]) -> float:
    """Compare the text side for several batches of tokens; see :func:`check_image_graph`."""
    graph, worst = session(path, trust=True), 0.0
    for tokens in prompts:
        with torch.inference_mode():
            wanted = [model(tokens).numpy()]
        what = f'prompts {tuple(tokens.shape)}'
        found = _run(graph, {'tokens': tokens}, what)
        worst = max(worst, _check(partial(ImageGraph(None).difference, found, wanted), what))
    return worst


def check_region_graph(path: Path, model: RegionGraph) -> float:
    """Compare the second stage for several numbers of masks; see :func:`check_image_graph`."""
    graph, worst = session(path, trust=True), 0.0
    numbers = torch.Generator(device='cpu').manual_seed(0)
    for count in (1, 5, 3):
        feeds = model.example(count, numbers)
        with torch.inference_mode():
            wanted = [model(*feeds.values()).numpy()]
        what = f'pictures of {count} masks'
        worst = max(worst, _check(partial(ImageGraph(None).difference, _run(graph, feeds, what), wanted), what))
    return worst


def _run(graph: Any, feeds: dict[str, torch.Tensor], what: str) -> Any:
    try:
        return graph.run(None, {name: value.numpy() for name, value in feeds.items()})
    except Exception as error:  # the libraries' own types derive from RuntimeError and Exception alike
        reason = ' '.join(str(error).split())
        raise ExportError(f'the graph does not run ({what}): {reason:.300}. Nothing was written.') from error


def _check(difference: Callable[[], float], what: str) -> float:
    """A difference that is small enough."""
    try:
        largest = difference()
    except ValueError as error:
        raise ExportError(f'{error} ({what}). Nothing was written.') from error
    if not largest <= TOLERANCE:
        raise ExportError(
            f'the graph differs from PyTorch by {largest:.2g} of the largest score ({what}): a size of its '
            'example has become part of it. Nothing was written.'
        )
    return largest
