"""Programs of ``torch.export``, which answer as onnxruntime's sessions do. PyTorch alone runs them."""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from denseclip.apis.errors import UserError

NAMES = 'names.json'
"""File in the archive: names of what goes in and comes out, and whether operators of torchvision are in it."""


class TorchProgram:
    """A program on the CPU. Threads may share it.

    Reading one runs code that its file may choose: PyTorch evaluates sizes in it as Python, unpickles what is no plain
    tensor, and loads compiled libraries (``torch/export/pt2_archive``, ``torch/_export/serde`` of PyTorch 2.14).

    Args:
        path: The ``.pt2`` file.
        threads: Threads of one operator, from now on for all that PyTorch does in this process; None: as they are.
        trust: Open it in spite of that.

    Raises:
        ImportError: If PyTorch, or torchvision where the program needs it, is not installed.
        UserError: If ``trust`` is False, or PyTorch cannot read the file.
    """

    def __init__(self, path: Path, threads: int | None = None, trust: bool = False) -> None:
        if not trust:
            raise UserError(
                f"'{path}' is a program of PyTorch, and opening one may run any code that its author put into it. If "
                'you trust its author, say so with --trust (trust=True in Python); else have the model exported with '
                '--to onnx.'
            )
        try:
            import torch
        except ImportError as error:
            raise ImportError('this export is run by PyTorch, which is not installed: pip install torch') from error
        names = _names(path)
        if names['torchvision']:
            _need_torchvision()
        try:
            with quiet(logging.CRITICAL, 'torch.export'):
                program = torch.export.load(path)
        except Exception as error:  # PyTorch raises types of many kinds
            reason = ' '.join(str(error).split())
            raise UserError(f"PyTorch cannot read '{path}': {reason:.300}; export the model again.") from error
        if threads is not None:
            torch.set_num_threads(threads)
        self._inputs, self._outputs = names['inputs'], names['outputs']
        self._program = cast(Any, program.module(check_guards=False))
        # The bounds that PyTorch guesses from an example are narrower than what is right. Other sizes were compared
        # when the program was written, as those of graphs are.
        self._program.validate_inputs = False

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs by name for inputs by name; None: all outputs."""
        import torch

        feeds = [torch.from_numpy(np.require(inputs[name], requirements=['C', 'W'])) for name in self._inputs]
        with torch.inference_mode():
            given = self._program(*feeds)
        # A module of one output may give it by itself.
        found = dict(zip(self._outputs, [given] if isinstance(given, torch.Tensor) else given, strict=True))
        return [found[name].numpy() for name in (self._outputs if outputs is None else outputs)]


def _names(path: Path) -> dict[str, Any]:
    """The suite's own file in the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(f'extra/{NAMES}'))
            found = json.loads(archive.read(inside))
        lists = {key: [str(name) for name in found[key]] for key in ('inputs', 'outputs')}
        return {**lists, 'torchvision': bool(found['torchvision'])}
    except (OSError, zipfile.BadZipFile, StopIteration, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' is no program that the suite wrote; export the model again.") from error


def _need_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'this export finds boxes with torchvision, which is not installed: pip install torchvision'
        ) from error


@contextmanager
def quiet(level: int, *names: str) -> Iterator[None]:
    """Without warnings, and without what the loggers of these names say below a level."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)
