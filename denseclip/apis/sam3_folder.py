"""SAM 3 from the folder that transformers keeps it in: its sizes, and what it wants of pictures, go into the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from denseclip.apis.errors import UserError
from denseclip.apis.pretrained_config import is_ours

SEGMENTOR = 'SAM3Segmentor'


def fitted(cfg: Config, weights: str | Path | None) -> Config:
    """The config of SAM 3 as the folder of its weights wants it; any other config as it is.

    Args:
        cfg: Of a model.
        weights: Its weights. A file without a ``config.json`` beside it, and what ``save_pretrained()`` of this suite
            wrote, change nothing.

    Raises:
        UserError: If transformers has no SAM 3, or the folder holds another model or no safetensors.
    """
    if str(cfg.model.get('type')).rpartition('.')[2] != SEGMENTOR:
        return cfg
    from denseclip.models.sam3_concepts import architecture, picture_facts
    from denseclip.models.segmentors.sam3 import preprocessor
    from denseclip.models.transformers_parts import folder_of, part_of_transformers
    from denseclip.weights import WeightFileError, resolve, weight_file

    try:
        part_of_transformers('Sam3Model', 'SAM 3')
    except ImportError as error:
        raise UserError(str(error)) from error
    if weights is None or '://' in str(weights):
        return cfg
    try:
        place = resolve(weights)
    except FileNotFoundError as error:
        raise UserError(f'{error} {GATED}') from error
    if place.is_file() and not (place.parent / 'config.json').is_file():
        return cfg
    try:
        folder = folder_of(place)
        if is_ours(folder):
            return cfg
        file = weight_file(place)
        if not file.name.endswith(('.safetensors', '.safetensors.index.json')):
            raise WeightFileError(
                f"SAM 3 is read from safetensors, and '{file}' is none: fetch them with 'hf download facebook/sam3 "
                "model.safetensors', or save the model with save_pretrained()."
            )
        sizes, facts = architecture(folder), picture_facts(folder)
    except WeightFileError as error:
        raise UserError(str(error)) from error
    cfg = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    cfg.model.sam = sizes
    cfg.model.data_preprocessor = preprocessor(facts['mean'], facts['std'])
    if 'size' in facts:
        height, width = facts['size']
        for step in _steps(cfg):
            if step.get('type') == 'Resize':
                step['scale'] = (width, height)
    return cfg


GATED = (
    "SAM 3's weights are gated: accept their licence on https://huggingface.co/facebook/sam3, log in with 'hf auth "
    "login', run 'hf download facebook/sam3', and give hf-hub:facebook/sam3 or the folder."
)


def _steps(cfg: Config) -> list[Any]:
    """All steps that a picture passes before inference."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    return [*(cfg.get('test_pipeline') or []), *(dataset.get('pipeline') or [])]
