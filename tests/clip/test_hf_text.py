"""Text towers made of transformers, without a network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import tokenizers
import torch
import transformers
from open_clip.tokenizer import HFTokenizer

from denseclip.clip.hf_text import KNOWN, text_config
from denseclip.clip.loading import build_clip, load_clip
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import WeightFileError, write_safetensors

VISION = dict(layers=1, width=64, patch_size=8, image_size=16)
COMMON = dict(vocab_size=40, pad_token_id=1, bos_token_id=0, eos_token_id=2)
BERT = dict(
    **COMMON,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=50,
)
T5 = dict(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj='gated-gelu')
M2M = dict(
    **COMMON,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    max_position_embeddings=50,
)
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    'xlm-roberta': (BERT, 'mean_pooler'),
    'roberta': (BERT, 'mean_pooler'),
    'bert': ({**BERT, 'pad_token_id': 0}, 'cls_pooler'),
    'mt5': (T5, 'mean_pooler'),
    'm2m_100': (M2M, 'cls_pooler'),
}
PROMPTS = ['a road', 'a much longer text about the road']


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any connection fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError('something asked for a network')

    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setattr(socket, 'create_connection', refuse)
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    yield


def write_tokenizer(folder: Path, pad: int, end: int) -> None:
    words = ['a', 'road', 'much', 'longer', 'text', 'about', 'the']
    specials = {
        0: '<s>' if pad else '<pad>',
        1: '<pad>' if pad else '</s>',
        2: '</s>' if end == 2 else '<s>',
        3: '<unk>',
    }
    vocabulary = {token: number for number, token in [*specials.items(), *enumerate(words, start=4)]}
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, '<unk>'))
    rust.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rust.post_processor = tokenizers.processors.TemplateProcessing(
        '$A </s>', special_tokens=[('</s>', vocabulary['</s>'])]
    )
    names = dict(pad_token='<pad>', eos_token='</s>', unk_token='<unk>')
    transformers.PreTrainedTokenizerFast(tokenizer_object=rust, **names).save_pretrained(folder)


def multilingual_folder(folder: Path, kind: str) -> tuple[str, Any]:
    """A folder as on the hub, with a text tower of random weights, and open_clip's own model with the same."""
    settings, pooler = KINDS[kind]
    encoder = folder / 'encoder'
    transformers.AutoConfig.for_model(kind, **settings).save_pretrained(encoder)
    text = dict(hf_model_name=str(encoder), hf_tokenizer_name=str(folder), hf_pooler_type=pooler, context_length=12)
    torch.manual_seed(0)
    theirs = open_clip.CustomTextCLIP(8, VISION, {**text, 'hf_model_pretrained': False}).eval()
    write_safetensors(theirs.state_dict(), folder / 'open_clip_model.safetensors')
    (encoder / 'config.json').rename(folder / 'config.json')
    write_tokenizer(folder, 0 if kind in ('mt5', 'bert') else 1, 1 if kind == 'mt5' else 2)
    config = dict(
        embed_dim=8, vision_cfg=VISION, text_cfg={**text, 'hf_model_name': f'some/{kind}', 'hf_tokenizer_name': 'x'}
    )
    (folder / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config}))
    return f'local-dir:{folder}', theirs


@pytest.mark.parametrize('kind', KINDS)
def test_multilingual_folders_load_and_encode_as_open_clip_does(tmp_path: Path, kind: str) -> None:
    name, theirs = multilingual_folder(tmp_path, kind)
    loaded = load_clip(name)
    tokens = HFTokenizer(str(tmp_path), context_length=12)(PROMPTS)
    tower = loaded.text_tower()
    assert torch.equal(tower.tokenize(PROMPTS), tokens)
    with torch.no_grad():
        torch.testing.assert_close(tower.encode(PROMPTS), theirs.encode_text(tokens), rtol=1e-4, atol=1e-5)
    assert tower.width == 16
    assert OpenCLIPParts(name).clip.text_tower().tokenize(PROMPTS).equal(tokens)


PARAMETERS = {
    'roberta-ViT-B-32': 124.87,
    'xlm-roberta-base-ViT-B-32': 278.27,
    'xlm-roberta-large-ViT-H-14': 560.94,
    'mt5-base-ViT-B-32': 277.86,
    'mt5-xl-ViT-H-14': 1674.68,
    'nllb-clip-base': 414.04,
    'nllb-clip-large': 767.14,
}
"""Millions of parameters of the text towers, of open_clip's docs/model_profile.csv."""


@pytest.mark.parametrize('name', PARAMETERS)
def test_architectures_with_a_text_tower_of_transformers_need_no_network(name: str) -> None:
    config = open_clip.get_model_config(name)
    config['vision_cfg'] = VISION
    with torch.device('meta'):
        text: Any = build_clip(config).text
    assert sum(p.numel() for p in text.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.006)


def test_every_such_architecture_is_known() -> None:
    named = {open_clip.get_model_config(n)['text_cfg'].get('hf_model_name') for n in open_clip.list_models()} - {None}
    assert named == set(KNOWN)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"text tower 'some/encoder'.*config\.json into '{tmp_path}'"):
        text_config('some/encoder', tmp_path)
    (tmp_path / 'config.json').write_text('{broken')
    with pytest.raises(WeightFileError, match=r'config\.json'):
        text_config('some/encoder', tmp_path)


def test_pictures_need_no_tokenizer(tmp_path: Path) -> None:
    name, theirs = multilingual_folder(tmp_path, 'xlm-roberta')
    for file in tmp_path.glob('*token*'):
        file.unlink()
    loaded = load_clip(name)
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.image_tower()(images).pooled, theirs.encode_image(images), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(FileNotFoundError, match=rf"tokenizer 'x' cannot be read.*tokenizer\.json.*'{tmp_path}'"):
        loaded.text_tower().encode('a road')
