"""What a folder of weights says about itself: open_clip's configuration, or that of transformers' CLIP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from denseclip.weights import WeightFileError, weight_file

from .architecture import mlp_ratio

OPEN_CLIP = 'open_clip_config.json'
TRANSFORMERS = 'config.json'
TOKENIZER_FILES = (
    'tokenizer.json',
    'tokenizer_config.json',
    'vocab.json',
    'vocab.txt',
    'spiece.model',
    'sentencepiece.bpe.model',
    'tokenizer.model',
)
_TEXT = dict(
    vocab_size=49408,
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=12,
    num_attention_heads=8,
    max_position_embeddings=77,
    hidden_act='quick_gelu',
    layer_norm_eps=1e-5,
    eos_token_id=49407,
)
_VISION = dict(
    hidden_size=768,
    intermediate_size=3072,
    num_hidden_layers=12,
    num_attention_heads=12,
    num_channels=3,
    image_size=224,
    patch_size=32,
    hidden_act='quick_gelu',
    layer_norm_eps=1e-5,
)
"""Defaults of transformers' CLIPTextConfig and CLIPVisionConfig; its files hold what differs."""
_ACTIVATIONS = {'quick_gelu': True, 'gelu': False}
_RESAMPLING = {2: 'bilinear', 3: 'bicubic'}  # Pillow's numbers


@dataclass(frozen=True)
class FolderFacts:
    """A folder's own words.

    Attributes:
        config: open_clip configuration of the model.
        preprocess: Mean, std, interpolation, resize mode, as far as they are told.
        file: Where that stands.
    """

    config: dict[str, Any]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    file: Path = Path()

    @property
    def quick_gelu(self) -> bool:
        """Activation."""
        return bool(self.config.get('quick_gelu', False))


def folder_facts(folder: Path) -> FolderFacts | None:
    """What a folder says, or None where it has neither configuration.

    Raises:
        WeightFileError: If a configuration is damaged, or of a model that is no plain CLIP.
    """
    file = folder / OPEN_CLIP
    if file.is_file():
        content = read_configuration(file, 'open_clip configuration')
        config = content.get('model_cfg')
        if not isinstance(config, dict) or not {'vision_cfg', 'text_cfg', 'embed_dim'} <= set(config):
            raise WeightFileError(
                f"'{file}' is no open_clip configuration; it needs a 'model_cfg' with embed_dim, vision_cfg and "
                'text_cfg.'
            )
        return FolderFacts(config, content.get('preprocess_cfg') or {}, file)
    file = folder / TRANSFORMERS
    if (
        file.is_file()
        and (content := read_configuration(file, 'configuration of transformers')).get('model_type') == 'clip'
    ):
        return FolderFacts(_open_clip_config(content, file), _preprocess(folder), file)
    return None


def facts_beside(file: Path) -> FolderFacts | None:
    """What the folder of a weight file says, if the file is the one that the folder is about."""
    try:
        is_it = weight_file(file.parent).resolve() == file.resolve()
    except WeightFileError:
        return None
    return folder_facts(file.parent) if is_it else None


def read_configuration(file: Path, what: str) -> dict[str, Any]:
    """A JSON file that describes a model.

    Args:
        file: The file.
        what: What it should be, for the error.

    Raises:
        WeightFileError: If it cannot be read, or holds anything but an object.
    """
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise WeightFileError(f"'{file}' is no {what}: it cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise WeightFileError(f"'{file}' is no {what}: it must hold a JSON object, not {type(content).__name__}.")
    return content


def _open_clip_config(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    text, vision = _part(content, 'text', _TEXT), _part(content, 'vision', _VISION)
    acts = {text['hidden_act'], vision['hidden_act']}
    activation = next(iter(acts)) if len(acts) == 1 else None
    if activation not in _ACTIVATIONS:
        raise WeightFileError(
            f"'{file}' asks for the activations {' and '.join(sorted(map(str, acts)))}; a CLIP of open_clip has "
            'quick_gelu or gelu, in both towers.'
        )
    if vision['num_channels'] != 3:
        raise WeightFileError(f"'{file}' is for pictures of {vision['num_channels']} channels, not 3.")
    text_cfg = {'context_length': text['max_position_embeddings'], 'vocab_size': text['vocab_size'], **_blocks(text)}
    text_cfg['heads'] = text['num_attention_heads']
    end = text['eos_token_id']
    if end not in (2, text['vocab_size'] - 1):  # 2 is an old slip of transformers, which means the highest id
        text_cfg.update(pool_type='eos', eos_id=end)
    if not _has_clips_words(file.parent, text['vocab_size']):
        text_cfg['hf_tokenizer_name'] = str(file.parent)
    vision_cfg = {'patch_size': vision['patch_size'], 'image_size': vision['image_size'], **_blocks(vision)}
    vision_cfg['head_width'] = vision['hidden_size'] // vision['num_attention_heads']
    return {
        'embed_dim': content.get('projection_dim', 512),
        'quick_gelu': _ACTIVATIONS[activation],
        'vision_cfg': vision_cfg,
        'text_cfg': text_cfg,
    }


def _part(content: Mapping[str, Any], which: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    given = {**(content.get(f'{which}_config') or {}), **(content.get(f'{which}_config_dict') or {})}
    return {key: default if given.get(key) is None else given[key] for key, default in defaults.items()}


def _blocks(part: Mapping[str, Any]) -> dict[str, Any]:
    width = part['hidden_size']
    blocks = {
        'width': width,
        'layers': part['num_hidden_layers'],
        'mlp_ratio': mlp_ratio(part['intermediate_size'], width),
    }
    return blocks if part['layer_norm_eps'] == 1e-5 else {**blocks, 'norm_kwargs': {'eps': part['layer_norm_eps']}}


def _has_clips_words(folder: Path, vocabulary: int) -> bool:
    """Whether the tokenizer is CLIP's own, which needs no file."""
    merges = folder / 'merges.txt'
    if vocabulary != 49408 or not merges.is_file():
        return vocabulary == 49408
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), 'rt', encoding='utf-8') as file:
        clips = [line.strip() for line in file.read().split('\n')[1 : 49152 - 256 - 2 + 1]]
    given = [line.strip() for line in merges.read_text(encoding='utf-8').split('\n')[1:] if line.strip()]
    return given == clips


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds files of a transformers tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def _preprocess(folder: Path) -> dict[str, Any]:
    """open_clip's words for ``preprocessor_config.json``; nothing, which means OpenAI's, where there is none."""
    file = folder / 'preprocessor_config.json'
    if not file.is_file():
        return {}
    content = read_configuration(file, 'configuration of pictures')
    found: dict[str, Any] = {}
    if content.get('do_normalize', True):
        found.update({k: content[f'image_{k}'] for k in ('mean', 'std') if content.get(f'image_{k}')})
    else:
        found.update(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if content.get('resample') in _RESAMPLING:
        found['interpolation'] = _RESAMPLING[content['resample']]
    if isinstance(content.get('size'), dict) and 'height' in content['size']:
        found['resize_mode'] = 'squash'
    return found
