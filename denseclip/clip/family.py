"""A CLIP of any published layout, with what its file holds beside the two towers."""

from __future__ import annotations

from pathlib import Path

from denseclip.weights import read_checkpoint, resolve, weight_file
from denseclip.weights.convert import convert, maple
from denseclip.weights.convert import dinotxt as dinotxt_layout
from denseclip.weights.convert import talk2dino as talk2dino_layout
from denseclip.weights.convert.clip_family import no_tower_state

from .deep_prompts import CoupledPrompts
from .dino_text import talk2dino
from .dinotxt import dinotxt
from .known_weights import known
from .loading import LoadedCLIP, load_clip


def read_family(
    source: str | Path,
    architecture: str | None = None,
    *,
    base: str | Path | None = None,
    tag: str | None = None,
    dino: str | Path | None = None,
    trust: bool = False,
) -> LoadedCLIP:
    """Load a file of a known family; MaPLe's prompts and CLIPN's second text tower come along.

    Args:
        source: The file, in any form of :func:`denseclip.weights.resolve`, or a folder with ``local-dir:``.
        architecture: Of open_clip; None is that of ``tag``, or is told from the tensors.
        base: See :func:`load_clip`; None is that of ``tag`` where the file holds a part of a CLIP.
        tag: Name of ``denseclip.clip.known_weights``, or a tag of open_clip.
        dino: Weights of the DINO that Talk2DINO's mapping or dino.txt's head belongs to, see
            :func:`.dino_text.talk2dino` and :func:`.dinotxt.dinotxt`.
        trust: See :func:`load_clip`.

    Raises:
        ValueError: If a DINO is named for weights that have an image tower of their own.
    """
    text = str(source)
    if text.startswith(('hf-hub:', 'local-dir:')):
        _need_no(dino, text)
        return load_clip(text)
    file = weight_file(resolve(text))
    state = read_checkpoint(file, trust=trust).state_dict
    if talk2dino_layout.is_official(state):
        return talk2dino(state, dino, source=str(file), architecture=architecture, base=base, trust=trust)
    if dinotxt_layout.is_head(state):
        return dinotxt(state, dino, source=str(file), base=base, trust=trust)
    _need_no(dino, text)
    row = known(tag) if tag is not None else None
    if architecture is None and row is not None and row.architecture != '-':
        architecture = row.architecture
    if base is None and row is not None and row.layout in ('image_tower', 'maple'):
        base = row.base
    model, weights = (str(file), None) if architecture is None else (architecture, file)
    loaded = load_clip(model, weights, tag=tag, base=base, trust=trust)
    loaded.no_text = no_tower_state(state)
    if maple.is_official(state):
        loaded.deep_prompts = CoupledPrompts.of_state(convert(state, 'maple'), file)
    return loaded


def _need_no(dino: str | Path | None, source: str) -> None:
    if dino is not None:
        raise ValueError(f"'{source}' has an image tower of its own: no DINO goes with it, leave --dino (dino=) out.")
