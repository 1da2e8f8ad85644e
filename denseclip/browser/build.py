"""Build the page: an export, what runs it in a browser, and nothing that needs a server of its own."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.apis.files import prepare_folder
from denseclip.browser.libraries import LICENCES, PAGE, fetch_libraries, read_libraries
from denseclip.browser.text_side import TextCost, quantise_text
from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.names import shown
from denseclip.files.ours import ConversionError, check_apart, check_replaceable, record
from denseclip.files.scratch import ScratchFolder, exit_on_signals
from denseclip.runtime.manifest import FILE, Manifest, file_sum
from denseclip.visualization.palette import distinct_palette

TEXT_PRECISIONS = ('int8', 'fp32')
SERVED = Path(__file__).parents[1] / 'serving' / 'page'
_COLOURS = 256
_PACKED = '.wasm'
_PARTS = ('image', 'text', 'tokenizer')
_OWN = ('index.html', 'page.js', 'worker.js', 'words.js', 'pictures.js', 'labels.js')
_SHARED = ('page.css', 'icon.svg')
_FOLDERS = ('lib', 'model')


@dataclass(frozen=True)
class Page:
    """A page that was built.

    Attributes:
        folder: Where it lies.
        sizes: Bytes of each file, by its path in the folder.
        text: What the text side in int8 costs; None: it is in float32.
    """

    folder: Path
    sizes: Mapping[str, int]
    text: TextCost | None

    def describe(self) -> str:
        """What was built, for the terminal."""
        lines = [f'  {name}  {size / 1e6:.1f} MB' for name, size in self.sizes.items() if size > 5e4]
        if self.text is not None:
            cosine, count = self.text.cosine, self.text.sentences
            lines.append(f'text side in int8: cosine to float32 {cosine:.4f} or more, {count} sentences')
        return '\n'.join([f'{shown(self.folder)}: {sum(self.sizes.values()) / 1e6:.1f} MB', *lines])


def build_page(
    export: str | Path,
    out: str | Path,
    text: str = 'int8',
    libraries: str | Path | None = None,
    force: bool = False,
) -> Page:
    """Build a folder of static files that labels photographs by typed words in a browser.

    Pictures and words stay in the browser; the page may load its own files only. ``model/`` of the folder is an export
    that ``denseclip.runtime`` opens: what both give for a picture can be compared.

    Args:
        export: What ``denseclip export`` has written, of a segmentor with free words that looks at a picture at once.
        out: Folder of the page.
        text: Precision of the text side, one of :data:`TEXT_PRECISIONS`.
        libraries: A folder ``node_modules`` with onnxruntime-web and ``@huggingface/tokenizers``; None: npm fetches
            them.
        force: Whether an earlier page in ``out`` may be overwritten; its folders must hold only what a page brought.

    Raises:
        ImportError: If onnxruntime's tools are missing (the extra ``export``).
        UserError: If the page cannot run this export, would replace it or a folder that no page brought, ``out`` cannot
            be written, or the libraries are not to be had.
    """
    if text not in TEXT_PRECISIONS:
        raise UserError(f"no precision is called '{text}'; choose from {', '.join(TEXT_PRECISIONS)}.")
    export = Path(export)
    manifest = Manifest.read(export)
    check_export(export, manifest)
    folder = _prepare(Path(out), export, force)
    with exit_on_signals(), ScratchFolder(folder, '.page-') as scratch:
        cost = _write_model(export, manifest, scratch.path / 'model', text)
        lib = scratch.path / 'lib'
        lib.mkdir()
        found = fetch_libraries(scratch.path) if libraries is None else read_libraries(Path(libraries))
        for name, content in found.items():
            packed = name.endswith(_PACKED)
            (lib / (name + '.gz' * packed)).write_bytes(gzip.compress(content, 9, mtime=0) if packed else content)
        (lib / 'LICENCES.txt').write_text(LICENCES, encoding='utf-8')
        for name in _FOLDERS:
            record(scratch.path / name)
        for source, names in ((PAGE, _OWN), (SERVED, _SHARED)):
            for name in names:
                shutil.copyfile(source / name, scratch.path / name)
        colours = json.dumps(distinct_palette(_COLOURS).tolist())
        (scratch.path / 'colours.json').write_text(colours, encoding='utf-8')
        _put(scratch.path, folder)
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return Page(folder, {str(path.relative_to(folder)): path.stat().st_size for path in files}, cost)


def _prepare(out: Path, export: Path, force: bool) -> Path:
    """The folder of the page; its own folders replace neither the export nor anything that no page brought."""
    try:
        places = [check_apart(out / name, [export]) for name in _FOLDERS]
        folder = prepare_folder(out, [*_OWN, *_SHARED, 'colours.json', *_FOLDERS], force)
        for place in places:
            check_replaceable(place, force=force)
    except ConversionError as error:
        raise UserError(f'{error}.') from error
    return folder


def check_export(folder: Path, manifest: Manifest) -> None:
    """Refuse what the page does not do.

    Raises:
        UserError: If the export is of another kind; the message says of which.
    """
    manifest.check_gives(folder, 'labels')
    steps, words = manifest.picture, manifest.words
    reasons = {
        'its words are fixed: export it without --classes': words is None or 'text' not in manifest.files,
        "its graphs are not ONNX's: export it with --to onnx": not manifest.files['image'].endswith('.onnx'),
        'its weights lie beside its graph, which a browser cannot read': 'image_weights' in manifest.files,
        'it looks at pictures in windows': steps.crop is not None or steps.whole is not None,
        'it reads pictures at their own size': steps.resize is None and steps.shorter is None,
        "it resizes pictures with Pillow's rounding": steps.backend != 'cv2',
        f'its scores are {manifest.scores.kind}': manifest.scores.kind != 'logits',
        'it scores each name of a class by itself': words is not None and words.merge == 'max',
        'it is built for one number of classes': words is not None and words.classes is not None,
        "it cleans words as CLIP's tokenizer does": words is not None and words.cleaning != '',
    }
    reason = next((text for text, found in reasons.items() if found), None)
    if reason is not None:
        raise UserError(f"the page cannot run '{folder}' ({manifest.model}): {reason}. The bundled model can be run.")


def _write_model(export: Path, manifest: Manifest, folder: Path, text: str) -> TextCost | None:
    """An export without what the page does not use."""
    folder.mkdir()
    files = {part: manifest.files[part] for part in _PARTS}
    for name in files.values():
        shutil.copyfile(export / name, folder / name)
    cost = None
    if text == 'int8':
        assert manifest.words is not None
        own = () if manifest.vocabulary is None else Vocabulary.of(manifest.vocabulary).prompts
        graph, tokenizer = export / files['text'], export / files['tokenizer']
        cost = quantise_text(graph, folder / files['text'], manifest.words, tokenizer, own)
    sums = {part: file_sum(folder / name) for part, name in files.items()}
    scores = replace(manifest.scores, calibration=None)
    (folder / FILE).write_text(replace(manifest, files=files, sha256=sums, scores=scores).to_json(), encoding='utf-8')
    return cost


def _put(made: Path, folder: Path) -> None:
    """Take the place of an earlier page; the file that browsers open comes last."""
    (folder / _OWN[0]).unlink(missing_ok=True)
    for name in _FOLDERS:
        if os.path.lexists(folder / name):
            (folder / name).rename(made / f'earlier-{name}')  # whole, and gone with the scratch folder
    for name in (*_FOLDERS, 'colours.json', *_SHARED, *reversed(_OWN)):
        target = folder / name
        if target.is_file():
            target.unlink()
        shutil.move(made / name, target)
