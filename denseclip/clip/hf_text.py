"""Text towers made of Hugging Face's transformers, built and filled without asking the hub for anything."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denseclip.files.scratch import ScratchFolder
from denseclip.weights.hub import hub_reachable

from .folders import TRANSFORMERS, read_configuration

_ROBERTA = dict(
    model_type='roberta',
    vocab_size=50265,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=514,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
)
_XLM = {**_ROBERTA, 'model_type': 'xlm-roberta', 'vocab_size': 250002}
_MT5 = dict(
    model_type='mt5',
    vocab_size=250112,
    d_model=768,
    d_kv=64,
    d_ff=2048,
    num_layers=12,
    num_heads=12,
    feed_forward_proj='gated-gelu',
    layer_norm_epsilon=1e-6,
    pad_token_id=0,
    eos_token_id=1,
)
_NLLB = dict(
    model_type='m2m_100',
    vocab_size=256206,
    d_model=1024,
    encoder_layers=12,
    encoder_ffn_dim=4096,
    encoder_attention_heads=16,
    decoder_attention_heads=16,
    max_position_embeddings=1024,
    activation_function='relu',
    scale_embedding=True,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
)
KNOWN: Mapping[str, Mapping[str, Any]] = {
    'roberta-base': _ROBERTA,
    'xlm-roberta-base': _XLM,
    'xlm-roberta-large': {
        **_XLM,
        'hidden_size': 1024,
        'num_hidden_layers': 24,
        'num_attention_heads': 16,
        'intermediate_size': 4096,
    },
    'google/mt5-base': _MT5,
    'google/mt5-xl': {**_MT5, 'd_model': 2048, 'd_ff': 5120, 'num_layers': 24, 'num_heads': 32},
    'facebook/nllb-200-distilled-600M': _NLLB,
    'facebook/nllb-200-distilled-1.3B': {**_NLLB, 'encoder_layers': 24, 'encoder_ffn_dim': 8192},
}
"""Configurations of the encoders that open_clip's architectures name, which are on no machine without a network."""
_NO_DECODER = {'mt5': 'num_decoder_layers', 't5': 'num_decoder_layers', 'm2m_100': 'decoder_layers'}


def text_config(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Configuration of a transformers encoder: from a folder, the hub's cache, :data:`KNOWN`, or the hub.

    Args:
        name: Name on the hub, or a folder.
        folder: Folder of the CLIP model; a ``config.json`` in it that is not CLIP's own is the text tower's.

    Raises:
        FileNotFoundError: If it is in none of these.
        WeightFileError: If a ``config.json`` is damaged.
    """
    for place in (folder, Path(name)):
        found = None if place is None else _config_in(place)
        if found is not None:
            return found
    cached = _from_hub(name, local=True)
    if cached is not None:
        return cached
    if name in KNOWN:
        return dict(KNOWN[name])
    fetched = _from_hub(name, local=False) if hub_reachable() else None
    if fetched is None:
        where = f"'{folder}'" if folder is not None else 'the folder of the weights'
        raise FileNotFoundError(
            f"the configuration of the text tower '{name}' is not on this machine, and the hub cannot be reached: put "
            f'its config.json into {where}.'
        )
    return fetched


def _config_in(folder: Path) -> dict[str, Any] | None:
    from open_clip.hf_configs import arch_dict

    file = folder / TRANSFORMERS
    if not file.is_file():
        return None
    content = read_configuration(file, 'configuration of a transformers model')
    return content if content.get('model_type') in arch_dict else None


def _from_hub(name: str, *, local: bool) -> dict[str, Any] | None:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name, local_files_only=local).to_dict()
    except Exception:  # many unrelated types; all of them mean: not to be had
        return None


@contextmanager
def encoder_folder(name: str, folder: Path | None = None) -> Iterator[str]:
    """A temporary folder that transformers builds the encoder from; decoders, which CLIP has no use for, are left out.

    Args:
        name: See :func:`text_config`.
        folder: See :func:`text_config`.

    Yields:
        The folder, as a name for ``hf_model_name``.
    """
    config = text_config(name, folder)
    decoder = _NO_DECODER.get(config.get('model_type', ''))
    if decoder is not None:
        config[decoder] = 0
    with ScratchFolder(Path(tempfile.gettempdir()), 'denseclip-text-') as place:
        (place.path / TRANSFORMERS).write_text(json.dumps(config), encoding='utf-8')
        yield str(place.path)


def text_width(text: Any) -> int | None:
    """Size of a token inside a transformers encoder, or None where it has no configuration."""
    config = getattr(text, 'config', None)
    return getattr(config, 'hidden_size', None) or getattr(config, 'd_model', None)
