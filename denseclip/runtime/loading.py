"""Open an export, whatever model it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.runtime.manifest import Manifest


def load(folder: str | Path, vocabulary: Any = None, threads: int | None = None) -> Any:
    """Open what ``denseclip export`` wrote.

    Args:
        folder: The folder.
        vocabulary: Words of calls without words of their own; None: those that the model came with. Of an anomaly
            model what pictures show.
        threads: Threads to compute with; None: as many as onnxruntime likes.

    Returns:
        A ``RuntimeModel``; a ``RuntimeMaskModel`` of a query-based model, a ``RuntimeAnomalyModel`` of one that
        finds defects.

    Raises:
        ImportError: If onnxruntime is not installed.
        UserError: If the folder holds no exported model, one of its files is missing or changed, or the model cannot
            tell these words apart.
    """
    manifest = Manifest.read(folder)
    if manifest.masks is not None:
        from denseclip.runtime.masks import RuntimeMaskModel

        return RuntimeMaskModel(folder, vocabulary, threads, manifest)
    if manifest.states is None:
        from denseclip.runtime.model import RuntimeModel

        return RuntimeModel(folder, vocabulary, threads, manifest)
    from denseclip.runtime.inspection import need_inspection

    need_inspection()
    from denseclip.runtime.anomaly import RuntimeAnomalyModel

    model = RuntimeAnomalyModel(folder, threads, manifest)
    if vocabulary is not None:
        if not isinstance(vocabulary, str):
            raise UserError(f'an anomaly model takes one object in words, such as "metal nut", not {vocabulary!r:.60}.')
        model.set_object(vocabulary)
    return model
