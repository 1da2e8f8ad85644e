"""YAML files that MMEngine reads are data: its own reader builds any Python object that a file names."""

from __future__ import annotations

import sys
from typing import Any

import yaml

_TUPLE = 'tag:yaml.org,2002:python/tuple'


class DataLoader(yaml.SafeLoader):
    """Plain values, and tuples, which MMEngine's own dumps of configs hold."""

    def construct_python_tuple(self, node: yaml.SequenceNode) -> tuple[Any, ...]:
        """A tuple."""
        return tuple(self.construct_sequence(node, deep=True))


DataLoader.add_constructor(_TUPLE, DataLoader.construct_python_tuple)


def install() -> None:
    """Have MMEngine's YAML reader build plain values only. Idempotent."""
    handler: Any = sys.modules['mmengine.fileio.handlers.yaml_handler']
    handler.Loader = DataLoader
