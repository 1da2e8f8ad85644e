"""open_clip's architectures with fewer layers and channels: the same kinds of modules, quick to build and to run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import open_clip
import timm
import torch
from open_clip.timm_model import TimmModel
from timm.models.vitamin import VitCfg, VitConvCfg
from torch import nn

from denseclip.clip.loading import build_clip

WORDS = 60
"""Size of every vocabulary."""

_TRANSFORMER = {'depth': 2, 'embed_dim': 32, 'num_heads': 2}
_VITAMIN = VitCfg((8, 16, 32), (1, 1, 1), 8, VitConvCfg(norm_layer='layernorm2d', norm_eps=1e-6), '1d')
_SHRUNK: dict[str, dict[str, Any]] = {
    'convnext': {'depths': (1, 1, 1, 1), 'dims': (8, 16, 24, 32)},
    'fastvit_mci0': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci1': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci2': {'layers': (1, 1, 1, 1), 'embed_dims': (16, 32, 32, 64)},
    'fastvit_mci': {'layers': (1, 1, 1, 1, 1), 'embed_dims': (16, 32, 32, 32, 64)},
    'swin': {'depths': (2, 1, 1, 1), 'embed_dim': 16, 'num_heads': (1, 2, 2, 4)},
    'vitamin': {**_TRANSFORMER, 'embed_cfg': _VITAMIN},
    'vit_base_mci': {'depth': 1},  # timm fixes the width of its stem
    'vit_pe_core': {**_TRANSFORMER, 'attn_pool_num_heads': 4},
    'vit': _TRANSFORMER,
    'eva': _TRANSFORMER,
}


def shrunk_arguments(trunk: str) -> dict[str, Any]:
    """Arguments of ``timm.create_model`` that make a trunk small; the longest fitting prefix of its name decides."""
    return _SHRUNK[max((name for name in _SHRUNK if trunk.startswith(name)), key=len)]


@contextlib.contextmanager
def shrunk_trunks(**changes: Any) -> Iterator[None]:
    """While this is open, timm makes small trunks."""
    create = timm.create_model

    def create_small(name: str, **kwargs: Any) -> nn.Module:
        return create(name, **{**kwargs, **shrunk_arguments(name), **changes})

    with patch.object(timm, 'create_model', create_small):
        yield


def shake(module: nn.Module) -> nn.Module:
    """Move all weights a little: norms and scales start at 0 or 1, which would hide mistakes."""
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def tiny_timm(trunk: str, pool: str, proj: str | None, embed_dim: int = 16, **changes: Any) -> TimmModel:
    """An open_clip image tower around a small trunk with random weights."""
    torch.manual_seed(0)
    with shrunk_trunks(**changes):
        visual = TimmModel(trunk, embed_dim=embed_dim, pool=pool, proj=proj, pretrained=False)
    return shake(visual)


def shrunk_config(architecture: str) -> dict[str, Any]:
    """An architecture's configuration with fewer layers, channels and words; all that makes its kind is kept."""
    config = open_clip.get_model_config(architecture)
    vision, text = config['vision_cfg'], config['text_cfg']
    config['embed_dim'] = 32 if vision.get('timm_proj') == 'none' else 16  # SigLIP's trunks have no projection
    if isinstance(vision.get('layers'), list):
        vision |= {'layers': [1, 1, 1, 1], 'width': 8}
    elif 'timm_model_name' not in vision:
        vision |= {'layers': 2, 'width': 32, 'head_width': 16}
    if 'attn_pooler_heads' in vision:
        vision['attn_pooler_heads'] = 4
    if 'hf_model_name' not in text:
        text |= {'layers': 2, 'width': 32, 'heads': 2, 'vocab_size': WORDS}
    if 'multimodal_cfg' in config:
        config['multimodal_cfg'] |= {'layers': 1, 'width': 16, 'heads': 2, 'attn_pooler_heads': 2}
    return config


def shrunk_clip(config: dict[str, Any]) -> nn.Module:
    """A model from :func:`shrunk_config` with random weights; its text tower's sizes do not come from the hub."""
    torch.manual_seed(0)
    with shrunk_trunks(), patch('open_clip.hf_model.AutoConfig.from_pretrained', _language_config):
        return shake(build_clip(config))


def _language_config(name: str, *_: Any, **__: Any) -> Any:
    """A small configuration of the kind that a name on Hugging Face's hub stands for."""
    import transformers

    plain = {'hidden_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'intermediate_size': 32}
    plain |= {'vocab_size': WORDS, 'max_position_embeddings': 100}
    if 'mt5' in name:
        return transformers.MT5Config(vocab_size=WORDS, d_model=32, d_kv=16, d_ff=32, num_layers=2, num_heads=2)
    if 'nllb' in name:
        halves = {f'{half}_{part}': 2 for half in ('encoder', 'decoder') for part in ('layers', 'attention_heads')}
        wide = {'encoder_ffn_dim': 32, 'decoder_ffn_dim': 32, 'max_position_embeddings': 100}
        return transformers.M2M100Config(vocab_size=WORDS, d_model=32, **halves, **wide)
    return (transformers.XLMRobertaConfig if 'xlm' in name else transformers.RobertaConfig)(**plain)


class LetterTokenizer:
    """A word for every letter, between a start and the end token that a text tower looks for."""

    def __init__(self, text: nn.Module, config: dict[str, Any]) -> None:
        by_highest_id = (getattr(text, 'text_pool_type', None) or getattr(text, 'pool_type', '')) == 'argmax'
        self.end = WORDS - 1 if by_highest_id else config.get('eos_id', 2)
        language = getattr(text, 'config', None)
        self.pad_id = 0 if language is None else language.pad_token_id
        self.identity = f'letters {self.end} {self.pad_id}'

    def __call__(self, text: str) -> list[int]:
        return [WORDS - 2, *(10 + ord(letter) % 40 for letter in text), self.end]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        return [*ids[: length - 1], self.end]
