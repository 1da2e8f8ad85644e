"""A CLIP as a folder that ``local-dir:`` reads, here and (but for sizes of a timm trunk) in open_clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from denseclip.files.provenance import provenance
from denseclip.weights import write_safetensors
from denseclip.weights.publish import to_half

from .deep_prompts import FILE_NAME as DEEP_PROMPTS
from .deep_prompts import write_deep_prompts
from .folders import OPEN_CLIP
from .loading import LoadedCLIP
from .text.no_tower import FILE_NAME as NO_TEXT

WEIGHTS = 'open_clip_model.safetensors'


def write_clip_folder(loaded: LoadedCLIP, folder: str | Path, *, half: bool = True) -> Path:
    """Write weights, configuration, how pictures are prepared, and what belongs to them.

    That is the list of merges of the tokenizer, deep prompts, and CLIPN's second text tower.

    Args:
        loaded: The model.
        folder: Exists; what an earlier model in it had besides is removed.
        half: Store large tensors in half precision; prompts stay as they are.

    Returns:
        The weight file.
    """
    folder = Path(folder)
    merges = (loaded.config['text_cfg'].get('tokenizer_kwargs') or {}).get('bpe_path')
    if loaded.folder is not None and merges and loaded.folder.resolve() != folder.resolve():
        (folder / Path(merges).name).write_bytes((loaded.folder / Path(merges).name).read_bytes())
    spec = loaded.preprocess
    preprocess = {'size': spec.size[0], 'mean': list(spec.mean), 'std': list(spec.std)}
    preprocess.update(interpolation=spec.interpolation, resize_mode=spec.resize_mode)
    for other in (DEEP_PROMPTS, NO_TEXT):
        (folder / other).unlink(missing_ok=True)
    if loaded.no_text:
        write_safetensors(loaded.no_text, folder / NO_TEXT, provenance())
    if loaded.deep_prompts is not None:
        write_deep_prompts(loaded.deep_prompts, folder)
    write_clip_config(folder, loaded.config, preprocess)
    state = loaded.model.state_dict()
    return write_safetensors(to_half(state) if half else state, folder / WEIGHTS, provenance())


def write_clip_config(folder: Path, config: Any, preprocess: Any) -> None:
    """The configuration of a CLIP and of its pictures, as open_clip's ``local-dir:`` wants them."""
    content = {'model_cfg': json.loads(json.dumps(config)), 'preprocess_cfg': preprocess}
    (folder / OPEN_CLIP).write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
