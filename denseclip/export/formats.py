"""Formats that exports are written in; nothing heavy is imported here. A new format is a row of ``FORMATS``.

What opens its graphs is a row of ``OPENERS`` in ``denseclip.runtime.graphs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        graph: How names of graphs end.
        weights: How names of files end that hold weights of a graph outside of it.
        packages: Modules that writing and comparing needs.
        extra: Extra of the suite that installs them.
    """

    graph: str
    weights: str
    packages: tuple[str, ...]
    extra: str

    @cached_property
    def names(self) -> Mapping[str, str]:
        """File of each part of an export."""
        return MappingProxyType(
            {
                'image': f'image{self.graph}',
                'text': f'text{self.graph}',
                'tokenizer': 'tokenizer.json',
                'embeddings': 'embeddings.npz',
                'unrelated': 'unrelated.npz',
                'image_weights': f'image{self.weights}',
                'text_weights': f'text{self.weights}',
            }
        )

    def check_packages(self) -> None:
        """Say what is missing.

        Raises:
            ImportError: If a package is not installed, or PyTorch is too old.
        """
        for module in self.packages:
            try:
                __import__(module)
            except ImportError as error:
                raise ImportError(f"exporting needs {module}: pip install 'denseclip-suite[{self.extra}]'") from error
        import torch

        if not hasattr(torch.onnx, 'ops'):
            raise ImportError(
                f'exporting needs PyTorch 2.8 or later, this is {torch.__version__}: pip install -U torch'
            )


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        # Weights of graphs of more than 1.5 GB lie beside them.
        'onnx': Format('.onnx', '.onnx.data', ('onnx', 'onnxscript', 'onnxruntime'), 'export'),
    }
)
"""By the name that ``--to`` takes."""


def all_names() -> list[str]:
    """Files of exports of any format."""
    return sorted({name for form in FORMATS.values() for name in form.names.values()})
