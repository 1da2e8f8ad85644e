"""OVSeg on pictures: from its own checkpoint, or with masks from elsewhere and nothing but a CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS

from denseclip.apis.config import inference_config
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer, choose_device
from denseclip.apis.methods import METHODS
from denseclip.apis.plug_ins import proposer
from denseclip.apis.presets import DEFAULT_CLIP, clip_settings
from denseclip.apis.turns import builds
from denseclip.apis.zoo import ours
from denseclip.compat.logs import quiet
from denseclip.weights import WeightFileError

THRESHOLD = 0.35
"""A pixel is in a mask above this share: that of the authors' demonstration."""
_STEPS: list[dict[str, Any]] = [
    {'type': 'PillowResizeShortSide', 'short_side': 640, 'max_long_side': 2560},
    {'type': 'PackSegInputs'},
]


@builds
def ovseg_inferencer(
    vocabulary: Any,
    *,
    config: str | Path | None = None,
    weights: str | Path | None = None,
    masks: str = 'model',
    stages: str | None = None,
    clip: str | None = None,
    pretrained: str | Path | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
    **settings: Any,
) -> Inferencer:
    """OVSeg as its demonstration works: the best mask of each class, and nothing where none fits.

    A single class is told apart from "others". Results say who decided about a class (``Segmentation.decided_by``).

    Args:
        vocabulary: Classes, in any form that ``Vocabulary.of`` knows; None takes those of the config.
        config: Config of the model, with ``masks='model'``; by default the large one for ADE20K.
        weights: Its checkpoint.
        masks: ``'model'``: the trained mask generator. ``'superpixels'``, ``'sam:FILE'`` (weights of Segment Anything,
            whose package is needed), ``'sam:FOLDER'`` (SAM, SAM 2, SAM 3 or EoMT as transformers saves it) or a folder
            of mask files (see ``denseclip.models.proposers.MaskFiles``): no checkpoint is needed, CLIP alone decides.
        stages: ``'both'``, ``'first'`` or ``'second'``; by default the second: CLIP knows words that the mask
            generator was not trained on.
        clip: CLIP model, with masks from elsewhere: open_clip architecture, ``hf-hub:`` or ``local-dir:``.
        pretrained: Its weights.
        device: See :class:`Inferencer`.
        trust: See :class:`Inferencer`.
        **settings: Further settings of the segmentor (``selection='all'``, ``region_classifier`` ...).

    Raises:
        UserError: If the options do not go together, or something is missing.
    """
    how: dict[str, Any] = {'selection': 'best', 'stages': stages or 'second', **settings}
    if masks == 'model':
        if clip is not None or pretrained is not None:
            raise UserError('--clip and --pretrained go with --masks from elsewhere; a checkpoint of OVSeg has a CLIP.')
        if weights is None:
            raise UserError(
                "OVSeg's mask generator needs its checkpoint: give --weights FILE (a converted release, see "
                'tools/convert_checkpoint.py), or take masks from elsewhere, for example --masks superpixels.'
            )
        cfg = inference_config(config or ours(METHODS['ovseg'].config))
        classifier = {**(cfg.model.get('region_classifier') or {}), 'threshold': THRESHOLD}
        cfg.model.update({**how, 'region_classifier': {**classifier, **settings.get('region_classifier', {})}})
        return Inferencer(cfg, weights, device, vocabulary, trust=trust)
    if config is not None or weights is not None:
        raise UserError(f'--masks {masks} needs no --config and --weights: leave them out, or take --masks model.')
    if vocabulary is None:
        raise UserError('say what to look for: --classes or --classes-file (vocabulary=).')
    if how['stages'] != 'second':
        raise UserError(f'masks from {masks} have no first stage: leave --stage {how["stages"]} out.')
    place = choose_device(device)
    inference_config({'model': {'type': 'TwoStageSegmentor'}})  # sets the default scope
    try:
        model = MODELS.build(
            {
                'type': 'TwoStageSegmentor',
                'clip': clip_settings(clip or DEFAULT_CLIP, pretrained, trust),
                'vocabulary': vocabulary,
                'proposer': proposer(masks),
                **how,
                'region_classifier': {'threshold': 0.5, 'max_overlap': 0.9, **settings.get('region_classifier', {})},
            }
        )
    except (ImportError, FileNotFoundError, WeightFileError) as error:
        raise UserError(str(error)) from error
    with quiet():
        model.init_weights()
    return Inferencer.from_model(model.to(place), _STEPS)
