"""A CLIP of any published layout, with what its file holds beside the two towers."""

from __future__ import annotations

from pathlib import Path

from denseclip.weights import read_checkpoint, resolve, weight_file
from denseclip.weights.convert import convert, maple
from denseclip.weights.convert.clip_family import no_tower_state

from .deep_prompts import CoupledPrompts
from .known_weights import known
from .loading import LoadedCLIP, load_clip


def read_family(
    source: str | Path,
    architecture: str | None = None,
    *,
    base: str | Path | None = None,
    tag: str | None = None,
    trust: bool = False,
) -> LoadedCLIP:
    """Load a file of a known family; MaPLe's prompts and CLIPN's second text tower come along.

    Args:
        source: The file, in any form of :func:`denseclip.weights.resolve`, or a folder with ``local-dir:``.
        architecture: Of open_clip; None is that of ``tag``, or is told from the tensors.
        base: See :func:`load_clip`; None is that of ``tag`` where the file holds a part of a CLIP.
        tag: Name of ``denseclip.clip.known_weights``, or a tag of open_clip.
        trust: See :func:`load_clip`.
    """
    text = str(source)
    if text.startswith(('hf-hub:', 'local-dir:')):
        return load_clip(text)
    file = weight_file(resolve(text))
    row = known(tag) if tag is not None else None
    if architecture is None and row is not None and row.architecture != '-':
        architecture = row.architecture
    if base is None and row is not None and row.layout in ('image_tower', 'maple'):
        base = row.base
    model, weights = (str(file), None) if architecture is None else (architecture, file)
    loaded = load_clip(model, weights, tag=tag, base=base, trust=trust)
    state = read_checkpoint(file, trust=trust).state_dict
    loaded.no_text = no_tower_state(state)
    if maple.is_official(state):
        loaded.deep_prompts = CoupledPrompts.of_state(convert(state, 'maple'), file)
    return loaded
