"""Folders of transformers' CLIP: the same embeddings as its own CLIPModel."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from denseclip.clip.folders import folder_facts
from denseclip.clip.loading import LoadedCLIP, load_clip
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import WeightFileError, read_state_dict
from denseclip.weights.convert import transformers_clip

TEXT = dict(
    hidden_size=32,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=49408,
    max_position_embeddings=20,
)
VISION = dict(
    hidden_size=48, intermediate_size=100, num_hidden_layers=3, num_attention_heads=3, image_size=32, patch_size=8
)
IDS = [[49406, 320, 1125, 539, 49407, 0], [49406, 1929, 49407, 0, 0, 0]]


def theirs(text: dict[str, Any] | None = None, **both: Any) -> Any:
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**TEXT, **both, **(text or {})}, vision_config={**VISION, **both}, projection_dim=16
    )
    model = CLIPModel(config).eval()
    for parameter in model.parameters():  # biases and norms are no ones and zeros in real weights
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def check(model: Any, loaded: LoadedCLIP, ids: list[list[int]] = IDS) -> None:
    images, tokens = torch.randn(2, 3, 32, 32), torch.tensor(ids)
    with torch.no_grad():
        pooled = loaded.image_tower()(images).pooled
        text = loaded.text_tower().encode_tokens(tokens)[0]
        out = model(input_ids=tokens, pixel_values=images)
    for ours, reference in ((pooled, out.image_embeds), (text, out.text_embeds)):
        ours = torch.nn.functional.normalize(ours, dim=-1)
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)
    assert loaded.model.logit_scale.item() == pytest.approx(model.logit_scale.item())


@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
@pytest.mark.parametrize('shards', [False, True])
@pytest.mark.parametrize('eps', [1e-5, 1e-3])
def test_equals_transformers(tmp_path: Path, activation: str, shards: bool, eps: float) -> None:
    model = theirs(hidden_act=activation, layer_norm_eps=eps)
    model.save_pretrained(tmp_path, **(dict(max_shard_size='500KB') if shards else {}))
    assert len(list(tmp_path.glob('*.safetensors'))) > 1 if shards else (tmp_path / 'model.safetensors').is_file()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check(model, load_clip(f'local-dir:{tmp_path}'))


def test_every_way_to_name_it(tmp_path: Path) -> None:
    model = theirs()
    model.save_pretrained(tmp_path)
    check(model, load_clip(str(tmp_path)))
    check(model, load_clip(str(tmp_path / 'model.safetensors')))
    check(model, OpenCLIPParts(f'local-dir:{tmp_path}').clip)
    config = folder_facts(tmp_path).config  # type: ignore[union-attr]
    parts = OpenCLIPParts('ViT-B-16', str(tmp_path / 'model.safetensors'), arch=config)
    parts.load()
    check(model, parts.clip)


def test_a_file_without_its_folder_needs_no_configuration(tmp_path: Path) -> None:
    """Heads that only one width explains; the activation is a guess, said aloud."""
    wide = theirs(hidden_size=64, num_attention_heads=1)
    wide.save_pretrained(tmp_path)
    (tmp_path / 'config.json').unlink()
    with pytest.warns(UserWarning, match='which activation'):
        check(wide, load_clip(str(tmp_path / 'model.safetensors')))


@pytest.mark.parametrize('end', [2, 7])
def test_the_end_of_a_text_is_where_transformers_has_it(tmp_path: Path, end: int) -> None:
    """2 is an old slip that means the highest id; any other is looked for."""
    model = theirs(text=dict(eos_token_id=end))
    model.save_pretrained(tmp_path)
    ids = [[49406, 320, 7, 539, 49407, 0], [49406, 7, 49407, 0, 0, 0]]
    check(model, load_clip(f'local-dir:{tmp_path}'), ids)


def test_old_configurations_with_a_second_dictionary(tmp_path: Path) -> None:
    """Releases before transformers 4.30 keep what differs in ``text_config_dict``, which wins."""
    model = theirs(hidden_act='gelu')
    model.save_pretrained(tmp_path)
    content = json.loads((tmp_path / 'config.json').read_text())
    for part in ('text', 'vision'):
        content[f'{part}_config_dict'] = content[f'{part}_config']
        content[f'{part}_config'] = {'hidden_act': 'quick_gelu', 'num_hidden_layers': 99}
    (tmp_path / 'config.json').write_text(json.dumps(content))
    check(model, load_clip(f'local-dir:{tmp_path}'))


def test_pictures_as_the_folder_says(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path)
    assert load_clip(f'local-dir:{tmp_path}').preprocess.resize_mode == 'shortest'
    look = dict(image_mean=[0.5] * 3, image_std=[0.25] * 3, resample=2, size=dict(height=32, width=32))
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(look))
    spec = load_clip(f'local-dir:{tmp_path}').preprocess
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.25,) * 3)
    assert (spec.interpolation, spec.resize_mode, spec.size) == ('bilinear', 'squash', (32, 32))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(text_config=dict(hidden_act='gelu')), 'activations gelu and quick_gelu'),
        (dict(text_config=dict(hidden_act='relu'), vision_config=dict(hidden_act='relu')), 'activations relu'),
        (dict(vision_config=dict(num_channels=1)), 'pictures of 1 channels'),
    ],
)
def test_what_open_clip_cannot_build_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    theirs().save_pretrained(tmp_path)
    content = json.loads((tmp_path / 'config.json').read_text())
    for part, values in change.items():
        content[part].update(values)
    (tmp_path / 'config.json').write_text(json.dumps(content))
    with pytest.raises(WeightFileError, match=message):
        load_clip(f'local-dir:{tmp_path}')


def test_other_models_of_transformers_are_named(tmp_path: Path) -> None:
    (tmp_path / 'config.json').write_text('{"model_type": "siglip"}')
    with pytest.raises(FileNotFoundError, match=r"transformers' CLIP"):
        load_clip(f'local-dir:{tmp_path}')


def test_names_that_are_no_clips_are_refused(tmp_path: Path) -> None:
    theirs().save_pretrained(tmp_path)
    state: dict[str, Tensor] = read_state_dict(tmp_path / 'model.safetensors')
    assert transformers_clip.is_official(state)
    with pytest.raises(Exception, match=r'vision_model\.adapter\.weight'):
        transformers_clip.forward({**state, 'vision_model.adapter.weight': torch.ones(1)})
    del state['text_model.encoder.layers.1.self_attn.k_proj.bias']
    with pytest.raises(Exception, match=r'in_proj_bias.* q, v only'):
        transformers_clip.forward(state)
