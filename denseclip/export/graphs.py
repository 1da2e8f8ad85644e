"""Graphs of the picture side and the text side by ``torch.onnx`` or ``torch.export``, every size free."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as sizes

from denseclip.export.errors import ExportError
from denseclip.export.image_graphs import ImageGraph
from denseclip.export.region_graphs import RegionGraph
from denseclip.runtime.manifest import PROGRAM
from denseclip.runtime.torch_program import NAMES, quiet

OPSET = 18
_unadvised = partial(quiet, logging.ERROR, 'torch.onnx', 'onnxscript', 'torch.export', 'onnx_ir')
# Sides whose strides leave odd remainders at every level, and that are not the sides of a learned position grid: an
# export keeps what is equal in its example.
_EXAMPLE = (2, 3, 203, 267)
_MULTIPLES = (5, 11)
"""Sides of the example of a graph that takes whole multiples of a length only."""
_CLASSES = 7


class TextGraph(nn.Module):
    """A text tower as a function of tokens; learned contexts are inside.

    Args:
        tower: Text tower.
        contexts: Learned contexts, (1, N2, W), or None.
    """

    def __init__(self, tower: Any, contexts: Tensor | None) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer('contexts', None if contexts is None else contexts.detach().clone())

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings (P, E), not normalised, of token ids (P, L)."""
        return self.tower.encode_tokens(tokens, self.contexts)[0]


def write_image_graph(graph: ImageGraph, path: Path, embed_dim: int | None, classes: int | None) -> None:
    """Write the picture side: ``images (n, 3, h, w)`` and ``text (k, E)`` to ``scores (n, k, h', w')`` and the like.

    Args:
        graph: Takes pictures, and class embeddings where the model has words.
        path: The file, a graph of ONNX or a program of PyTorch by how its name ends.
        embed_dim: E; None for models without words.
        classes: The only K that the model takes; None: any.
    """
    batch, channels, height, width = _EXAMPLE
    sides: dict[int, Any] = {2: 'h', 3: 'w'}
    if graph.multiple > 1:  # the graph says so of its inputs, then
        height, width = (graph.multiple * side for side in _MULTIPLES)
        sides = {axis: graph.multiple * torch.export.Dim(name) for axis, name in sides.items()}
    inputs: list[Tensor] = [torch.randn(graph.batch or batch, channels, height, width, device='cpu')]
    free: list[dict[int, Any]] = [{**({} if graph.batch else {0: 'n'}), **sides}]
    names = ['images']
    if embed_dim is not None:
        inputs.append(example_text(classes or _CLASSES, embed_dim, graph.unit_text))
        free.append({} if classes else {0: 'k'})
        names.append('text')
    for name, value in graph.more(height, width).items():
        inputs.append(value)
        free.append(dict(graph.free.get(name, {})))
        names.append(name)
    _write(graph, inputs, names, graph.outputs, free, path)


def write_text_graph(graph: nn.Module, path: Path, tokens: Tensor) -> None:
    """Write the text side: ``tokens (p, l)`` to ``embeddings (p, E)``.

    Args:
        graph: Takes tokens.
        path: The file.
        tokens: An example of at least two prompts.
    """
    _write(graph, [tokens], ['tokens'], ['embeddings'], [{0: 'p', 1: 'l'}], path)


def write_region_graph(graph: RegionGraph, path: Path) -> None:
    """Write the second stage: ``pictures (v, 3, s, s)``, and ``masks`` where it takes them, to ``embeddings (v, E)``.

    Args:
        graph: Takes pictures of masks.
        path: The file.
    """
    inputs = graph.example(_EXAMPLE[0])
    _write(graph, list(inputs.values()), list(inputs), ['embeddings'], [{0: 'v'} for _ in inputs], path)


def example_text(count: int, embed_dim: int, unit: bool, numbers: torch.Generator | None = None) -> Tensor:
    """Class embeddings of nothing, (K, E).

    Args:
        count: K.
        embed_dim: E.
        unit: Whether they have length one.
        numbers: Where random numbers come from.
    """
    text = torch.randn(count, embed_dim, generator=numbers, device='cpu')
    return nn.functional.normalize(text, dim=-1) if unit else text


def _write(
    graph: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    outputs: Sequence[str],
    free: Sequence[dict[int, Any]],
    path: Path,
) -> None:
    if path.suffix == PROGRAM:
        _write_program(graph, inputs, names, outputs, free, path)
        return
    with torch.no_grad(), _unadvised():
        try:
            program: Any = torch.onnx.export(
                graph.eval(),
                tuple(inputs),
                dynamo=True,
                input_names=list(names),
                output_names=list(outputs),
                dynamic_shapes=tuple(free),
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = next((line for line in str(error.__cause__ or error).splitlines() if line.strip()), '')
            raise ExportError(f'torch.onnx cannot make a graph of this model: {reason:.300}') from error
        program.save(str(path))


def _write_program(
    graph: nn.Module,
    inputs: Sequence[Tensor],
    names: Sequence[str],
    outputs: Sequence[str],
    free: Sequence[dict[int, Any]],
    path: Path,
) -> None:
    any_size = torch.export.Dim.DYNAMIC
    shapes = tuple({axis: any_size if isinstance(d, str) else d for axis, d in one.items()} for one in free)
    # As torch.onnx does it: sides of one are no other sides than longer ones.
    with torch.no_grad(), _unadvised(), sizes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        try:
            program = torch.export.export(graph.eval(), tuple(inputs), dynamic_shapes=shapes)
            program.example_inputs = None  # would be pickled
            operators = ' '.join(str(node.target) for node in program.graph.nodes if node.op == 'call_function')
            said = {'inputs': list(names), 'outputs': list(outputs), 'torchvision': 'torchvision.' in operators}
            torch.export.save(program, path, extra_files={NAMES: json.dumps(said)})
        except Exception as error:  # torch.export raises types of its own
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ExportError(f'torch.export cannot make a program of this model: {reason:.300}') from error
