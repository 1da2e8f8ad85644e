"""Graphs of OpenVINO, which answer as onnxruntime's sessions do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError


class OpenVINOGraph:
    """A graph on the CPU, in float32 whatever the processor prefers. Threads may share it.

    Args:
        path: The ``.xml`` file; its weights lie beside it in a ``.bin`` file.
        threads: Threads of one picture; None: as many as OpenVINO likes.

    Raises:
        ImportError: If openvino is not installed.
        UserError: If it cannot read the file.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ImportError(
                "this export is run by openvino, which is not installed: pip install 'denseclip-suite[openvino]'"
            ) from error
        settings: dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
        if threads is not None:
            settings['INFERENCE_NUM_THREADS'] = threads
        try:
            self._model = openvino.Core().compile_model(str(path), 'CPU', settings)
        except RuntimeError as error:
            reason = ' '.join(str(error).split())
            raise UserError(f"openvino cannot read '{path}': {reason:.300}; export the model again.") from error
        self._names = [port.get_any_name() for port in self._model.outputs]

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs by name for inputs by name; None: all outputs."""
        found = self._model.create_infer_request().infer(dict(inputs))
        return [np.array(found[name]) for name in (self._names if outputs is None else outputs)]
