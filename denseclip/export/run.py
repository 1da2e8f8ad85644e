"""A model into a folder: graphs, tokenizer or embeddings, manifest; all of it, or nothing."""

from __future__ import annotations

import io
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseclip.apis.errors import UserError
from denseclip.apis.files import prepare_folder, write_file
from denseclip.apis.inferencer import Inferencer
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.capabilities import ImageGraph, capability
from denseclip.export.checks import check_image_graph, check_text_graph
from denseclip.export.errors import ExportError
from denseclip.export.graphs import OPSET, TextGraph, write_image_graph, write_text_graph
from denseclip.export.pictures import picture_steps
from denseclip.export.substitutes import ready_for_export
from denseclip.files.names import shown
from denseclip.files.scratch import ScratchFolder, exit_on_signals
from denseclip.runtime.manifest import FILE, Manifest, Words, file_sum
from denseclip.version import __version__

FORMATS = ('onnx',)
_NAMES = {
    'image': 'image.onnx',
    'text': 'text.onnx',
    'tokenizer': 'tokenizer.json',
    'embeddings': 'embeddings.npz',
}
_PACKAGES = ('torch', 'onnx', 'onnxscript', 'onnxruntime', 'numpy')
_ENTRY_LIMIT = 512
"""Tokens of the longest prompt that the check of a text tower makes."""


def export(
    model: Inferencer | Any,
    out: str | Path,
    to: str = 'onnx',
    classes: Any = None,
    steps: Sequence[Mapping[str, Any]] | None = None,
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
    if able.graph is None:
        raise ExportError(f'{kind} cannot be exported: {able.reason}')
    fixed = None if classes is None else Vocabulary.of(classes)
    parts = ['image', 'embeddings'] if fixed is not None else ['image', 'text', 'tokenizer']
    names = [_NAMES[part] for part in parts] + [FILE]
    folder = prepare_folder(out, names, force)
    with exit_on_signals(), ScratchFolder(folder, '.export-') as scratch:
        made = _Export(inferencer, able.graph, scratch.path, fixed)
        manifest = made.write(parts)
        (folder / FILE).unlink(missing_ok=True)  # an export without a manifest is none: halves are never read
        for part in parts:
            shutil.move(scratch.path / _NAMES[part], folder / _NAMES[part])
        write_file(folder / FILE, manifest.to_json())
    return folder


class _Export:
    """One export on its way.

    Args:
        inferencer: The model with its pipeline and words.
        graph: Makes the graph of the picture side.
        folder: Where to write.
        fixed: Words to put into the export; None keeps them free.
    """

    def __init__(self, inferencer: Inferencer, graph: Any, folder: Path, fixed: Vocabulary | None) -> None:
        self.inferencer, self.folder, self.fixed = inferencer, folder, fixed
        self.model: Any = inferencer.model
        if any(p.device.type != 'cpu' for p in self.model.parameters()):
            raise ExportError("models are exported from the CPU; load it with device='cpu'.")
        self.graph = graph
        self.words = self._words()
        self.checked: dict[str, Any] = {}

    def write(self, parts: Sequence[str]) -> Manifest:
        """Write all parts; returns the manifest that goes with them."""
        picture = picture_steps(self.inferencer.steps, self.model)
        embeddings, words = self._own_words()
        self._image(self.graph)
        if 'text' in parts:
            self._text()
        else:
            content = io.BytesIO()
            np.savez(content, embeddings=embeddings)
            (self.folder / _NAMES['embeddings']).write_bytes(content.getvalue())
        return Manifest(
            model=type(self.model).__name__,
            picture=picture,
            words=self.words,
            vocabulary=words.vocabulary.to_dict(),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in words.palette),
            files={part: _NAMES[part] for part in parts},
            sha256={part: file_sum(self.folder / _NAMES[part]) for part in parts},
            versions=_versions(),
            checked=self.checked,
        )

    def _words(self) -> Words:
        text, encoder = self.model.class_text, self.model.text_encoder
        if not hasattr(encoder.tower.tokenizer, 'path') and self.fixed is None:
            raise ExportError(
                f'the tokenizer of {type(encoder).__name__} has no tokenizer.json, which the runtime reads; give the '
                'words that the export shall know (--classes).'
            )
        contexts = 0 if self.model.contexts is None else self.model.contexts.shape[1]
        return Words(
            templates=tuple(text.templates),
            most_tokens=text.context_length or encoder.context_length - contexts,
            pad_id=encoder.tower.tokenizer.pad_id,
            backgrounds=('none', 'prompts'),
            embed_dim=encoder.embed_dim,
            classes=text.num_classes if self.model.closed_set else None,
        )

    def _own_words(self) -> tuple[np.ndarray, Any]:
        """Class embeddings and words of the export: the model's own, or the fixed ones."""
        if self.fixed is not None:
            self.inferencer.set_vocabulary(self.fixed)
        words = self.inferencer._words
        with torch.inference_mode():
            text = self.model.class_text(self.model.text_encoder, self.model.contexts)
        return text[0].float().numpy(), words

    def _image(self, graph: type[ImageGraph]) -> None:
        path = self.folder / _NAMES['image']
        size = self.words.embed_dim, self.words.classes
        write_image_graph(graph(ready_for_export(self.model)), path, *size)
        self.checked['image'] = check_image_graph(path, graph(self.model).eval(), *size)

    def _text(self) -> None:
        path, encoder = self.folder / _NAMES['text'], self.model.text_encoder
        graph = TextGraph(ready_for_export(encoder), self.model.contexts)
        write_text_graph(graph, path, encoder.tokenize(['a photo of a cat.', 'a photo of a traffic light.']))
        self.checked['text'] = check_text_graph(path, TextGraph(encoder, self.model.contexts).eval(), self._prompts())
        shutil.copyfile(encoder.tower.tokenizer.path, self.folder / _NAMES['tokenizer'])

    def _prompts(self) -> list[Tensor]:
        """Batches of prompts unlike the example's: one, many, short, and as long as can be."""
        encoder, most = self.model.text_encoder, min(self.words.most_tokens, _ENTRY_LIMIT)
        long = encoder.tokenize(['tree'])
        filled = torch.cat([long[:, :1], long[:, 1:2].expand(-1, most - 2), long[:, -1:]], dim=1)
        several = encoder.tokenize([f'a photo of {"a very " * (k % 3)}thing {k}.' for k in range(17)], most)
        return [encoder.tokenize(['sky']), several, filled]


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
    count = len(manifest.vocabulary['classes'])
    free = 'embeddings' not in manifest.files
    lines.append(f'  {shown(folder / FILE)}')
    lines.append(f'words: {"free; " if free else "fixed: "}{count} of its own')
    return '\n'.join(lines)
