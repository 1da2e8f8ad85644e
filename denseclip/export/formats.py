"""Formats that exports are written in; nothing heavy is imported here. A new format is a row of ``FORMATS``.

What opens its graphs is a row of ``OPENERS`` in ``denseclip.runtime.graphs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from denseclip.export.errors import ExportError
from denseclip.runtime.manifest import PROGRAM

_ONNX = '.onnx'
_WRITING = MappingProxyType(dict.fromkeys(('onnx', 'onnxscript', 'onnxruntime'), 'export'))


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        graph: How names of graphs end.
        weights: How names of files end that hold weights of a graph outside of it.
        packages: Modules that writing and comparing needs, and the extras of the suite that install them.
        convert: Writes a graph of ONNX as this format's beside it; None: it stays.
        made: How names of graphs end as PyTorch makes them, see ``denseclip.export.graphs``.
        precisions: Of graphs.
    """

    graph: str
    weights: str
    packages: Mapping[str, str]
    convert: Callable[[Path, Path], None] | None = None
    made: str = _ONNX
    precisions: tuple[str, ...] = ('fp32', 'fp16', 'int8')

    @cached_property
    def names(self) -> Mapping[str, str]:
        """File of each part of an export."""
        return MappingProxyType(
            {
                'image': f'image{self.graph}',
                'regions': f'regions{self.graph}',
                'text': f'text{self.graph}',
                'tokenizer': 'tokenizer.json',
                'embeddings': 'embeddings.npz',
                'unrelated': 'unrelated.npz',
                'image_weights': f'image{self.weights}',
                'regions_weights': f'regions{self.weights}',
                'text_weights': f'text{self.weights}',
            }
        )

    def finish(self, graph: Path) -> Path:
        """Make a graph as PyTorch made it one of this format, which takes its place.

        Raises:
            ExportError: If it cannot be converted.
        """
        if self.convert is None:
            return graph
        made = graph.with_name(graph.name.removesuffix(_ONNX) + self.graph)
        try:
            self.convert(graph, made)
        except RuntimeError as error:
            reason = ' '.join(str(error).split())
            raise ExportError(f'the graph cannot be converted to {self.graph}: {reason:.300}') from error
        for file in FORMATS['onnx'].files(graph):
            file.unlink()
        return made

    def files(self, graph: Path) -> list[Path]:
        """A graph, and its weights where they lie beside it."""
        beside = graph.with_name(graph.name.removesuffix(self.graph) + self.weights)
        return [graph, *([beside] if beside.exists() else [])]

    def check_packages(self) -> None:
        """Say what is missing.

        Raises:
            ImportError: If a package is not installed, or PyTorch is too old.
        """
        for module, extra in self.packages.items():
            try:
                __import__(module)
            except ImportError as error:
                raise ImportError(f"exporting needs {module}: pip install 'denseclip-suite[{extra}]'") from error
        import torch

        if not hasattr(torch.onnx, 'ops'):
            raise ImportError(
                f'exporting needs PyTorch 2.8 or later, this is {torch.__version__}: pip install -U torch'
            )


def _to_openvino(graph: Path, made: Path) -> None:
    import openvino

    # convert_model reads the same way, and reports each use to the makers of OpenVINO.
    openvino.save_model(openvino.Core().read_model(str(graph)), str(made), compress_to_fp16=False)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        # Weights of graphs of more than 1.5 GB lie beside them.
        'onnx': Format(_ONNX, '.onnx.data', _WRITING),
        'openvino': Format('.xml', '.bin', MappingProxyType({**_WRITING, 'openvino': 'openvino'}), _to_openvino),
        # onnxruntime's tools lower the precision of ONNX's graphs alone.
        'torch': Format(PROGRAM, f'{PROGRAM}.data', MappingProxyType({}), made=PROGRAM, precisions=('fp32',)),
    }
)
"""By the name that ``--to`` takes."""


def all_names() -> list[str]:
    """Files of exports of any format."""
    return sorted({name for form in FORMATS.values() for name in form.names.values()})
