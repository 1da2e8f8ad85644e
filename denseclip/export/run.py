"""A model into a folder: graphs, tokenizer or embeddings, manifest; all of it, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.files import prepare_folder, write_file
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.predictor import Predictor
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.capabilities import capability
from denseclip.export.errors import ExportError
from denseclip.export.formats import FORMATS, all_names
from denseclip.export.precision import check_precision, cost_line
from denseclip.files.names import shown
from denseclip.files.scratch import ScratchFolder, exit_on_signals
from denseclip.runtime.manifest import FILE, Manifest


def export(
    model: Predictor | Any,
    out: str | Path,
    to: str = 'onnx',
    classes: Any = None,
    steps: Sequence[Mapping[str, Any]] | None = None,
    own_words: bool = True,
    precision: str = 'fp32',
    calibrate: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write a model as graphs that ``denseclip.runtime`` runs without PyTorch.

    Batch, height, width and number of classes are free. Words stay free, too, unless ``classes`` are given. Graphs are
    compared with the model before anything is written to ``out``.

    Args:
        model: An ``Inferencer`` or ``AnomalyInferencer``, or an MMSeg segmentor together with ``steps``.
        out: Folder for the files.
        to: A format of :data:`denseclip.export.formats.FORMATS`.
        classes: Words to put into the export instead of the text tower, in any form that ``Vocabulary.of`` knows; the
            model itself keeps the words that it has.
        steps: Test transforms of a segmentor, without reading files.
        own_words: Whether the model's present words are those of calls without words; else such calls are refused.
        precision: ``'fp32'``, ``'fp16'`` or ``'int8'``, of the picture side.
        calibrate: Folder of pictures that a lower precision is fitted to and compared on.
        force: Whether an earlier export in ``out`` may be overwritten.

    Returns:
        The folder.

    Raises:
        ExportError: If the model cannot be exported; the message says why.
        ImportError: If a package is missing (the extra ``export``).
        UserError: If there is no such format, or the folder cannot be written to.
    """
    if to not in FORMATS:
        raise UserError(f"cannot export to '{to}'; choose from {', '.join(FORMATS)}.")
    FORMATS[to].check_packages()
    inferencer: Any = (
        model if isinstance(model, Predictor) else Inferencer.from_model(model, [dict(step) for step in steps or ()])
    )
    kind = type(inferencer.model).__name__
    able = capability(inferencer.model)
    way = able.way
    if way is None:
        raise ExportError(f'{kind} cannot be exported: {able.reason}')
    check_precision(precision, calibrate, to)
    fixed = None if classes is None else Vocabulary.of(classes)
    folder = prepare_folder(out, [*all_names(), FILE], force)
    with exit_on_signals(), ScratchFolder(folder, '.export-') as scratch, _own_words_after(inferencer, fixed):
        manifest = way.writing(inferencer, way, scratch.path, fixed, own_words, FORMATS[to]).write(precision, calibrate)
        (folder / FILE).unlink(missing_ok=True)  # an export without a manifest is none: halves are never read
        for name in all_names():
            if name in manifest.files.values():
                shutil.move(scratch.path / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        write_file(folder / FILE, manifest.to_json())
    return folder


@contextmanager
def _own_words_after(inferencer: Any, fixed: Vocabulary | None) -> Iterator[None]:
    """Give a model that is exported with other words those back that it had, also after an error."""
    if fixed is None or not isinstance(inferencer, Inferencer):
        yield
        return
    with inferencer._turn:
        before = inferencer._words_of_call(None)
        try:
            yield
        finally:
            inferencer._take(before.asked)
            inferencer._words = before


def describe(folder: Path) -> str:
    """What was written, for the terminal."""
    manifest = Manifest.read(folder)
    agreed = ', '.join(f'{part} {difference:.0e}' for part, difference in manifest.checked.items())
    lines = [f'{manifest.model}, compared with PyTorch at other sizes than the example; largest difference: {agreed}']
    for name in manifest.files.values():
        lines.append(f'  {shown(folder / name)}  {(folder / name).stat().st_size / 1e6:.1f} MB')
    if manifest.lowered is not None:
        lines.append(cost_line(dict(manifest.lowered)))
    lines.append(f'  {shown(folder / FILE)}')
    if manifest.gives == 'states':
        return '\n'.join([*lines, f'object: free; {shown(manifest.rule.object or "none")} of its own'])
    own = manifest.vocabulary
    free = 'embeddings' not in manifest.files
    lines.append(f'words: {"free; " if free else "fixed: "}{len(own["classes"]) if own else "none"} of its own')
    return '\n'.join(lines)
