"""Open an export, whatever model it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denseclip.runtime.kinds import KINDS
from denseclip.runtime.manifest import Manifest


def load(
    folder: str | Path,
    vocabulary: Any = None,
    threads: int | None = None,
    trust: bool = False,
    precision: str = 'fp32',
) -> Any:
    """Open what ``denseclip export`` wrote.

    Args:
        folder: The folder.
        vocabulary: Words of calls without words of their own; None: those that the model came with. Of an anomaly
            model what pictures show.
        threads: Threads to compute with; None: as many as the library likes that runs it.
        trust: Open programs of PyTorch (``--to torch``), whose files can make PyTorch run any code. Say so only for
            exports whose author you trust.
        precision: What pictures are computed in: ``'fp32'``, or ``'bf16'``, which exports ``--to openvino`` take and
            is faster on processors that have instructions for it.

    Returns:
        A ``RuntimeModel``; a ``RuntimeMaskModel`` of a query-based model, a ``RuntimeAnomalyModel`` of one that
        finds defects.

    Raises:
        ImportError: If what runs it is not installed.
        UserError: If the folder holds no exported model, one of its files is missing or changed, it holds programs of
            PyTorch and ``trust`` is False, the model cannot tell these words apart, or nothing computes in this
            precision.
    """
    manifest = Manifest.read(folder)
    if manifest.gives == 'states':
        from denseclip.runtime.inspection import need_inspection

        need_inspection()
    return KINDS[manifest.gives].load()(folder, vocabulary, threads, manifest, trust, precision)
