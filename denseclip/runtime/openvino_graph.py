"""Graphs of OpenVINO, which answer as onnxruntime's sessions do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError


class OpenVINOGraph:
    """A graph on the CPU. Threads may share it.

    Args:
        path: The ``.xml`` file; its weights lie beside it in a ``.bin`` file.
        threads: Threads of one picture; None: as many as OpenVINO likes.
        precision: ``'fp32'``, whatever the processor prefers, or ``'bf16'``.

    Raises:
        ImportError: If openvino is not installed.
        UserError: If it cannot read the file, or the processor has no instructions for bfloat16.
    """

    def __init__(self, path: Path, threads: int | None = None, precision: str = 'fp32') -> None:
        try:
            import openvino
        except ImportError as error:
            raise ImportError(
                "this export is run by openvino, which is not installed: pip install 'denseclip-suite[openvino]'"
            ) from error
        core, low = openvino.Core(), precision == 'bf16'
        if low and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            raise UserError(
                'this processor has no instructions for bfloat16 (AMX or AVX512-BF16), without which it is no faster: '
                'leave --precision bf16 (precision=) out.'
            )
        hint = 'bf16' if low else 'f32'
        settings: dict[str, Any] = {'INFERENCE_PRECISION_HINT': hint, 'PERFORMANCE_HINT': 'LATENCY'}
        if threads is not None:
            settings['INFERENCE_NUM_THREADS'] = threads
        try:
            self._model = core.compile_model(str(path), 'CPU', settings)
        except RuntimeError as error:
            reason = ' '.join(str(error).split())
            raise UserError(f"openvino cannot read '{path}': {reason:.300}; export the model again.") from error
        self._names = [port.get_any_name() for port in self._model.outputs]
        self._free = {
            port.get_any_name(): [axis for axis, size in enumerate(port.get_partial_shape()) if size.is_dynamic]
            for port in self._model.inputs
        }
        self._first = Lock()
        self._used = False

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs by name for inputs by name; None: all outputs."""
        with self._first:
            if not self._used:
                self._run_before_one_word(inputs)
                self._used = True
        found = self._model.create_infer_request().infer(dict(inputs))
        return [np.array(found[name]) for name in (self._names if outputs is None else outputs)]

    def _run_before_one_word(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Attention whose first sequence has one token is wrong for all longer ones that follow (OpenVINO 2026.4).

        Sequences of two in the first run prevent that. Pictures and masks may be one: they are no sequence.
        """
        doubled = dict(inputs)
        for name, value in inputs.items():
            for axis in self._free.get(name, ()):
                if value.shape[axis] == 1 and (axis or value.ndim < 3):
                    doubled[name] = np.repeat(doubled[name], 2, axis)
        if any(doubled[name] is not value for name, value in inputs.items()):
            self._model.create_infer_request().infer(doubled)
