"""A model into a folder: graphs, tokenizer or embeddings, manifest; all of it, or nothing."""

from __future__ import annotations

import io
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.files import prepare_folder, write_file
from denseclip.apis.inferencer import Inferencer
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.capabilities import Way, capability
from denseclip.export.checks import check_image_graph, check_text_graph
from denseclip.export.errors import ExportError
from denseclip.export.graphs import OPSET, write_image_graph, write_text_graph
from denseclip.export.pictures import picture_steps
from denseclip.export.precision import calibration_feeds, check_precision, cost_line, lower
from denseclip.export.substitutes import ready_for_export
from denseclip.export.words import unrelated_file
from denseclip.files.names import shown
from denseclip.files.scratch import ScratchFolder, exit_on_signals
from denseclip.runtime.manifest import FILE, Manifest, file_sum
from denseclip.version import __version__

FORMATS = ('onnx',)
_NAMES = {
    'image': 'image.onnx',
    'text': 'text.onnx',
    'tokenizer': 'tokenizer.json',
    'embeddings': 'embeddings.npz',
    'unrelated': 'unrelated.npz',
}
_PACKAGES = ('torch', 'onnx', 'onnxscript', 'onnxruntime', 'numpy')


def export(
    model: Inferencer | Any,
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
        model: An ``Inferencer``, or an MMSeg segmentor together with ``steps``.
        out: Folder for the files.
        to: ``'onnx'``.
        classes: Words to put into the export instead of the text tower, in any form that ``Vocabulary.of`` knows.
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
    inferencer = (
        model if isinstance(model, Inferencer) else Inferencer.from_model(model, [dict(step) for step in steps or ()])
    )
    kind = type(inferencer.model).__name__
    able = capability(inferencer.model)
    if able.way is None:
        raise ExportError(f'{kind} cannot be exported: {able.reason}')
    check_precision(precision, calibrate)
    fixed = None if classes is None else Vocabulary.of(classes)
    folder = prepare_folder(out, [*_NAMES.values(), FILE], force)
    with exit_on_signals(), ScratchFolder(folder, '.export-') as scratch:
        manifest = _Export(inferencer, able.way, scratch.path, fixed, own_words).write(precision, calibrate)
        (folder / FILE).unlink(missing_ok=True)  # an export without a manifest is none: halves are never read
        for part, name in _NAMES.items():
            if part in manifest.files:
                shutil.move(scratch.path / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        write_file(folder / FILE, manifest.to_json())
    return folder


class _Export:
    """One export on its way.

    Args:
        inferencer: The model with its pipeline and words.
        way: How it is exported.
        folder: Where to write.
        fixed: Words to put into the export; None keeps them free.
        own_words: See :func:`export`.
    """

    def __init__(
        self, inferencer: Inferencer, way: Way, folder: Path, fixed: Vocabulary | None, own_words: bool
    ) -> None:
        self.inferencer, self.way, self.folder = inferencer, way, folder
        self.fixed, self.own_words = fixed, own_words or fixed is not None
        self.model: Any = inferencer.model
        if any(p.device.type != 'cpu' for p in self.model.parameters()):
            raise ExportError("models are exported from the CPU; load it with device='cpu'.")
        if hasattr(self.model, 'need_weights'):
            self.model.need_weights()
        self.side = way.words(self.model)
        self.words = self.side.words()
        self.parts: list[str] = []
        self.checked: dict[str, Any] = {}
        self.lowered: dict[str, Any] | None = None

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """Write all parts; returns the manifest that goes with them."""
        picture = picture_steps(self.inferencer.steps, self.model)
        if self.fixed is not None:
            self.inferencer.set_vocabulary(self.fixed)
        else:
            self.side.write_tokenizer(self._part('tokenizer'))
        rows, own = self.side.rows(), self.inferencer._words
        unrelated = self.side.unrelated()
        self._image()
        if calibrate is not None:
            feeds = calibration_feeds(calibrate, picture, rows)
            self.lowered = lower(self.folder / _NAMES['image'], precision, feeds)
        if self.fixed is None:
            self._text()
        else:
            self._save('embeddings', {'embeddings': rows})
        if unrelated is not None:
            self._save('unrelated', unrelated_file(unrelated))
        calibration = self.inferencer.calibration
        return Manifest(
            model=type(self.model).__name__,
            picture=picture,
            words=self.words,
            vocabulary=own.vocabulary.to_dict() if self.own_words else None,
            palette=tuple((int(r), int(g), int(b)) for r, g, b in own.palette) if self.own_words else (),
            files={part: _NAMES[part] for part in self.parts},
            sha256={part: file_sum(self.folder / _NAMES[part]) for part in self.parts},
            scores=replace(self.way.scores, calibration=None if calibration is None else calibration.to_json()),
            versions=_versions(),
            checked=self.checked,
            lowered=self.lowered,
        )

    def _part(self, part: str) -> Path:
        self.parts.append(part)
        return self.folder / _NAMES[part]

    def _save(self, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        self._part(part).write_bytes(content.getvalue())

    def _image(self) -> None:
        path, graph = self._part('image'), self.way.graph
        size = self.words.embed_dim, self.words.classes
        write_image_graph(graph(ready_for_export(self.model)), path, *size)
        self.checked['image'] = check_image_graph(path, graph(self.model).eval(), *size)

    def _text(self) -> None:
        path, tower = self._part('text'), self.side.tower
        example = tower.tokenize(['a photo of a cat.', 'a photo of a traffic light.'])
        write_text_graph(self.side.graph(ready_for_export(tower)), path, example)
        prompts = self.side.prompts(self.words.most_tokens)
        self.checked['text'] = check_text_graph(path, self.side.graph(tower).eval(), prompts)


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {'denseclip': __version__, 'python': platform.python_version(), 'opset': str(OPSET), **found}


def describe(folder: Path) -> str:
    """What was written, for the terminal."""
    manifest = Manifest.read(folder)
    agreed = ', '.join(f'{part} {difference:.0e}' for part, difference in manifest.checked.items())
    lines = [f'{manifest.model}, compared with PyTorch at other sizes than the example; largest difference: {agreed}']
    for name in manifest.files.values():
        lines.append(f'  {shown(folder / name)}  {(folder / name).stat().st_size / 1e6:.1f} MB')
    if manifest.lowered is not None:
        lines.append(cost_line(dict(manifest.lowered)))
    own = manifest.vocabulary
    free = 'embeddings' not in manifest.files
    lines.append(f'  {shown(folder / FILE)}')
    lines.append(f'words: {"free; " if free else "fixed: "}{len(own["classes"]) if own else "none"} of its own')
    return '\n'.join(lines)
