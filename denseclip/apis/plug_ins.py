"""What options of a command line mean for parts that come from other networks: masks, regions and affinities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.clip.presets import preset

_SUPERPIXELS = {'type': 'SuperpixelMasks', 'scales': (100.0,), 'max_masks': 1000}  # one division of the picture


def proposer(masks: str) -> dict[str, Any]:
    """Config of what finds masks."""
    if masks == 'superpixels':
        return {'type': 'SuperpixelMasks'}
    if masks == 'sam' or masks.startswith('sam:'):
        # "sam:FILE" names its weights, "sam:FOLDER" a model of transformers. SAM's own names of models are vit_b, vit_l
        # and vit_h.
        file = masks.partition(':')[2]
        if (file and Path(file).is_dir()) or file.startswith(('local-dir:', 'hf-hub:')):
            return {'type': 'TransformersMasks', 'source': file}
        kind = next((kind for kind in ('vit_l', 'vit_h') if kind in file), 'vit_b')
        if not file:
            raise UserError('say which weights Segment Anything has: --masks sam:sam_vit_b_01ec64.pth, or sam:FOLDER')
        return {'type': 'SAMMasks', 'model': kind, 'pretrained': file}
    if not Path(masks).is_dir():
        raise UserError(
            f"--masks '{masks}' is no folder; give model, superpixels, sam:FILE, sam:FOLDER, or a folder of mask files."
        )
    return {'type': 'MaskFiles', 'folder': masks}


def _segment_anything(name: str, masks: str) -> dict[str, Any]:
    """Settings of ``sam=``: weights of the package, or a folder of transformers."""
    found = proposer(masks) if masks == 'sam' or masks.startswith('sam:') else {}
    if not found:
        raise UserError(f'preset {name} asks Segment Anything itself: give --masks sam:FILE or sam:FOLDER (masks=).')
    return {key: value for key, value in found.items() if key != 'type'}


def plug_ins(name: str, dino: str | None, masks: str | None, trust: bool = False) -> dict[str, Any]:
    """Arguments of a preset's segmentor that a self-supervised network and a source of masks mean.

    Args:
        name: Name of the preset.
        dino: Weights, ``ARCHITECTURE=WEIGHTS`` or ``local-dir:FOLDER``; None: not said.
        masks: See :func:`proposer`; None: not said.
        trust: Read weights even if that runs code in them.

    Raises:
        UserError: If the preset takes no such thing.
    """
    wanted = preset(name).plug_ins
    found: dict[str, Any] = {}
    for parts, option, given in (
        (('affinity',), '--dino (dino=)', dino),
        (('regions', 'sam'), '--masks (masks=)', masks),
    ):
        if given is not None and not set(parts) & set(wanted):
            raise UserError(f'preset {name} takes no {option}: leave it out.')
    if dino is not None:
        kind, _, weights = (dino, '', dino) if dino.startswith('local-dir:') else dino.rpartition('=')
        found['affinity'] = {'dino': {'pretrained': weights, 'trust': trust, **({'model_name': kind} if kind else {})}}
    if masks is not None and 'sam' in wanted:
        found['sam'] = _segment_anything(name, masks)
    elif masks is not None:
        if masks == 'model':
            raise UserError('--masks model (masks=) is of OVSeg; name superpixels, sam:FILE or a folder here.')
        source = _SUPERPIXELS if masks == 'superpixels' else proposer(masks)
        found['regions'] = {'type': 'ProposedRegions', 'masks': source}
    return found
