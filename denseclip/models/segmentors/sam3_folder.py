"""SAM 3 from the folder that transformers keeps it in: its sizes, and what it wants of pictures, go into the config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from denseclip.files.shared_folder import is_ours
from denseclip.models.sam3_concepts import architecture, picture_facts
from denseclip.models.transformers_parts import folder_of, part_of_transformers
from denseclip.weights import WeightFileError, resolve, weight_file

GATED = (
    "SAM 3's weights are gated: accept their licence on https://huggingface.co/facebook/sam3, log in with 'hf auth "
    "login', run 'hf download facebook/sam3', and give hf-hub:facebook/sam3 or the folder."
)


def preprocessor(mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """Data preprocessor for a normalisation of 0..1."""
    scaled = {'mean': [255.0 * value for value in mean], 'std': [255.0 * value for value in std]}
    return {'type': 'SegDataPreProcessor', 'bgr_to_rgb': True, 'pad_val': 0, **scaled}


def fitted_to_folder(cfg: Config, weights: str | Path | None) -> Config:
    """The config of SAM 3 as the folder of its weights wants it.

    Args:
        cfg: Of the model.
        weights: Its weights. A file without a ``config.json`` beside it, and what ``save_pretrained()`` of this suite
            wrote, change nothing.

    Raises:
        ImportError: If transformers has no SAM 3.
        FileNotFoundError: If the weights are not there.
        WeightFileError: If the folder holds another model or no safetensors.
    """
    part_of_transformers('Sam3Model', 'SAM 3')
    if weights is None or '://' in str(weights):
        return cfg
    try:
        place = resolve(weights)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error} {GATED}') from error
    if place.is_file() and not (place.parent / 'config.json').is_file():
        return cfg
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
    cfg = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    cfg.model.sam = sizes
    cfg.model.data_preprocessor = preprocessor(facts['mean'], facts['std'])
    if 'size' in facts:
        height, width = facts['size']
        for step in _steps(cfg):
            if step.get('type') == 'Resize':
                step['scale'] = (width, height)
    return cfg


def _steps(cfg: Config) -> list[Any]:
    """All steps that a picture passes before inference."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    return [*(cfg.get('test_pipeline') or []), *(dataset.get('pipeline') or [])]
