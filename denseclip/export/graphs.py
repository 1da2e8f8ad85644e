"""Graphs of the picture side and the text side by ``torch.onnx`` or ``torch.export``, every size free."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
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
_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


@dataclass(frozen=True)
class _Ends:
    """What goes into a graph and comes out of it.

    Attributes:
        inputs: An example of each input, by its name.
        free: Names of the free sides of each, by axis.
        outputs: Names.
    """

    inputs: Mapping[str, Tensor]
    free: Sequence[dict[int, Any]]
    outputs: Sequence[str]


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
    inputs = {'images': torch.randn(graph.batch or batch, channels, height, width, device='cpu')}
    free: list[dict[int, Any]] = [{**({} if graph.batch else {0: 'n'}), **sides}]
    if embed_dim is not None:
        inputs['text'] = example_text(classes or _CLASSES, embed_dim, graph.unit_text)
        free.append({} if classes else {0: 'k'})
    more = graph.more(height, width)
    inputs.update(more)
    free += [dict(graph.free.get(name, {})) for name in more]
    _write(graph, _Ends(inputs, free, graph.outputs), path)


def write_text_graph(graph: nn.Module, path: Path, tokens: Tensor) -> None:
    """Write the text side: ``tokens (p, l)`` to ``embeddings (p, E)``.

    Args:
        graph: Takes tokens.
        path: The file.
        tokens: An example of at least two prompts.
    """
    _write(graph, _Ends({'tokens': tokens}, [{0: 'p', 1: 'l'}], ['embeddings']), path)


def write_region_graph(graph: RegionGraph, path: Path) -> None:
    """Write the second stage: ``pictures (v, 3, s, s)``, and ``masks`` where it takes them, to ``embeddings (v, E)``.

    Args:
        graph: Takes pictures of masks.
        path: The file.
    """
    inputs = graph.example(_EXAMPLE[0])
    _write(graph, _Ends(inputs, [{0: 'v'} for _ in inputs], ['embeddings']), path)


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


def _write(graph: nn.Module, ends: _Ends, path: Path) -> None:
    with torch.no_grad(), _unadvised():
        _WRITERS[path.suffix](graph.eval(), ends, path)


def _write_onnx(graph: nn.Module, ends: _Ends, path: Path) -> None:
    try:
        program: Any = torch.onnx.export(
            graph,
            tuple(ends.inputs.values()),
            dynamo=True,
            input_names=list(ends.inputs),
            output_names=list(ends.outputs),
            dynamic_shapes=tuple(ends.free),
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = next((line for line in str(error.__cause__ or error).splitlines() if line.strip()), '')
        raise ExportError(f'torch.onnx cannot make a graph of this model: {reason:.300}') from error
    program.save(str(path))


def _write_program(graph: nn.Module, ends: _Ends, path: Path) -> None:
    any_size = torch.export.Dim.DYNAMIC
    shapes = tuple({axis: any_size if isinstance(d, str) else d for axis, d in one.items()} for one in ends.free)
    # As torch.onnx does it: sides of one are no other sides than longer ones.
    with sizes.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        try:
            program = torch.export.export(graph, tuple(ends.inputs.values()), dynamic_shapes=shapes)
            program.example_inputs = None  # would be pickled
            _leave_out_unused(program)
            operators = ' '.join(str(node.target) for node in program.graph.nodes if node.op == 'call_function')
            said = {
                'inputs': list(ends.inputs),
                'outputs': list(ends.outputs),
                'torchvision': 'torchvision.' in operators,
            }
            torch.export.save(program, path, extra_files={NAMES: json.dumps(said)})
        except Exception as error:  # torch.export raises types of its own
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ExportError(f'torch.export cannot make a program of this model: {reason:.300}') from error


_WRITERS: Mapping[str, Callable[[nn.Module, _Ends, Path], None]] = MappingProxyType(
    {'.onnx': _write_onnx, PROGRAM: _write_program}
)
"""By how names of graphs end as PyTorch makes them."""


def _leave_out_unused(program: torch.export.ExportedProgram) -> None:
    """Leave out weights that no operator takes, such as those of a text tower beside a picture side.

    Programs keep all weights of their module, graphs of ONNX do not.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == 'placeholder'}
    inputs = program.graph_signature.input_specs
    unused = [spec for spec in inputs if spec.kind in _WEIGHTS and not nodes[spec.arg.name].users]
    for spec in unused:
        program.graph.erase_node(nodes[spec.arg.name])
        inputs.remove(spec)
    used = {spec.target for spec in inputs}
    for tensors in (program.state_dict, program.constants):
        for name in set(tensors) - used:
            del tensors[name]
    program.graph_module.recompile()
