"""One call loads any CLIP (small models here; test_weight_paths.py has the full sizes)."""

import json
import warnings

import open_clip
import pytest
import torch

from denseclip.clip.loading import UnknownModelError, build_clip, fit_state, load_clip
from denseclip.clip.text import FullLengthTextTower
from denseclip.weights import WeightFileError, WeightMismatchError, write_safetensors

TEXT = {'context_length': 77, 'vocab_size': 49408, 'width': 64, 'heads': 1, 'layers': 1}
VIT = {'layers': 1, 'width': 64, 'patch_size': 8, 'image_size': 16}
RESNET = {'layers': [1, 1, 1, 1], 'width': 8, 'image_size': 32}
SIGLIP_TEXT = {**TEXT, 'no_causal_mask': True, 'pool_type': 'last', 'context_length': 12}


def folder_of(tmp_path, clip, config, **preprocess):
    """A folder as open_clip's push_to_hf_hub writes it."""
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': preprocess}))
    write_safetensors(clip.state_dict(), tmp_path / 'open_clip_model.safetensors')
    return f'local-dir:{tmp_path}'


@pytest.mark.parametrize('vision', [VIT, RESNET])
def test_local_dir(tmp_path, vision):
    torch.manual_seed(0)
    config = {'embed_dim': 8, 'vision_cfg': vision, 'text_cfg': TEXT, 'quick_gelu': True}
    clip = open_clip.CLIP(**config).eval()
    loaded = load_clip(folder_of(tmp_path, clip, config, mean=[0.5] * 3, std=[0.25] * 3, interpolation='bilinear'))
    x, size = torch.randn(1, 3, *[vision['image_size']] * 2), vision['image_size']
    with torch.no_grad():
        assert torch.allclose(loaded.image_tower()(x).pooled, clip.encode_image(x), atol=1e-5)
        expected = clip.encode_text(open_clip.tokenize(['a road']))
        assert torch.allclose(loaded.text_tower().encode('a road'), expected, atol=1e-5)
    assert loaded.preprocess.size == (size, size) and loaded.preprocess.mean == (0.5,) * 3
    assert loaded.image_tower().preprocess is loaded.preprocess
    assert not loaded.model.training


def test_file_alone_tells_its_architecture(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT, 'quick_gelu': True}
    clip = open_clip.CLIP(**config).eval()
    path = write_safetensors(clip.state_dict(), tmp_path / 'mine.safetensors')
    loaded = load_clip(str(path))
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(loaded.model.encode_image(x), clip.encode_image(x), atol=1e-5)


def test_full_length_text_tower(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': SIGLIP_TEXT, 'custom_text': True}
    clip = open_clip.CustomTextCLIP(8, VIT, SIGLIP_TEXT).eval()
    tower = load_clip(folder_of(tmp_path, clip, config)).text_tower()
    assert isinstance(tower, FullLengthTextTower)
    with torch.no_grad():
        assert torch.allclose(tower.encode('road'), clip.encode_text(open_clip.tokenize(['road'], 12)), atol=1e-5)


def test_precision(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT}
    name = folder_of(tmp_path, open_clip.CLIP(**config), config)
    loaded = load_clip(name, precision='bf16')
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    assert torch.isfinite(loaded.image_tower()(torch.randn(1, 3, 16, 16, dtype=torch.bfloat16)).dense).all()
    assert torch.isfinite(loaded.text_tower().encode('road')).all()
    with pytest.raises(ValueError, match="precision='int8' is unknown"):
        load_clip(name, precision='int8')


def test_tag_brings_its_own_settings(tmp_path, monkeypatch):
    """The activation and the normalisation come from the tag, whatever the architecture's file says."""
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT}
    path = write_safetensors(open_clip.CLIP(**config).state_dict(), tmp_path / 'w.safetensors')
    entry = {'file': str(path), 'quick_gelu': True, 'mean': (0.1, 0.2, 0.3), 'std': (1.0, 1.0, 1.0)}
    monkeypatch.setattr(open_clip, 'get_model_config', lambda _: json.loads(json.dumps(config)))
    monkeypatch.setattr(open_clip.pretrained, 'get_pretrained_cfg', lambda *_: entry)
    loaded = load_clip('tiny', 'sometag')
    assert loaded.config['quick_gelu'] is True
    assert type(loaded.model.visual.transformer.resblocks[0].mlp.gelu).__name__ == 'QuickGELU'
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3)
    assert loaded.name == 'tiny/sometag'


def test_plain_text_names_fit_a_separate_text_module():
    clip = open_clip.CLIP(8, VIT, TEXT)
    custom = open_clip.CustomTextCLIP(8, VIT, TEXT, init_logit_bias=-10.0, nonscalar_logit_scale=True)
    state = {**clip.state_dict(), 'input_resolution': torch.tensor(16), 'vocab_size': torch.tensor(49408)}
    fitted = fit_state(custom, state)
    assert set(fitted) == set(custom.state_dict())
    assert fitted['logit_scale'].shape == (1,) and fitted['logit_bias'].shape == (1,)


def test_random_weights_are_announced(monkeypatch):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT}
    monkeypatch.setattr(open_clip, 'get_model_config', lambda _: json.loads(json.dumps(config)))
    with pytest.warns(UserWarning, match="'tiny' has random weights"):
        load_clip('tiny')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('ViT-B16',), "no architecture 'ViT-B16'.*nearest: ViT-B-16"),
        (('vit-b-16',), 'nearest: ViT-B-16'),
        (('RN50', 'opnai'), "no weights 'opnai' for RN50.*nearest: openai"),
        (('ViT-B-16', 'laion2b_s34b_b88'), 'nearest: laion2b_s34b_b88k'),
        (('RN50', 'qqq'), 'known: openai, yfcc15m, cc12m'),
    ],
)
def test_unknown_names_suggest_the_nearest(arguments, message):
    with pytest.raises(UnknownModelError, match=message):
        load_clip(*arguments)


@pytest.mark.parametrize('pretrained', ['weights/none.pt', 'none.safetensors'])
def test_missing_file(pretrained):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_clip('RN50', pretrained)


def test_tag_without_network(monkeypatch):
    def offline(*_, **__):
        raise OSError('no route to host')

    monkeypatch.setattr(open_clip.pretrained, 'download_pretrained', offline)
    with pytest.raises(
        FileNotFoundError, match=r"'openai' of RN50 are not on this machine.*load_clip\('RN50', 'weights"
    ):
        load_clip('RN50', 'openai')
    # The place that was asked, and each command's own way to name a file.
    with pytest.raises(
        FileNotFoundError, match=r'from https://.*--pretrained FILE \(denseclip segment\).*--weights FILE \(.*anomaly'
    ):
        load_clip('ViT-B-16-plus-240', 'laion400m_e32')


def test_weights_of_another_model(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT}
    other = open_clip.CLIP(8, {**VIT, 'width': 128}, TEXT)
    with pytest.raises(WeightMismatchError, match=r'open_clip_model\.safetensors.*of another shape: visual\.'):
        load_clip(folder_of(tmp_path, other, config))


def test_broken_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'has no open_clip_config\.json'):
        load_clip(f'local-dir:{tmp_path}')
    (tmp_path / 'open_clip_config.json').write_text('{"no": 1}')
    with pytest.raises(WeightFileError, match="needs a 'model_cfg'"):
        load_clip(f'local-dir:{tmp_path}')
    (tmp_path / 'open_clip_config.json').write_text('{broken')
    with pytest.raises(WeightFileError, match='no open_clip configuration'):
        load_clip(f'local-dir:{tmp_path}')


def test_a_folder_brings_its_own_weights(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': RESNET, 'text_cfg': TEXT}
    name = folder_of(tmp_path, open_clip.CLIP(**config), config)
    load_clip(name, name)  # said twice, meant once
    with pytest.raises(ValueError, match="brings its own weights; leave pretrained='openai' out"):
        load_clip(name, 'openai')


def test_quiet_when_weights_are_given(tmp_path):
    config = {'embed_dim': 8, 'vision_cfg': RESNET, 'text_cfg': TEXT}
    name = folder_of(tmp_path, open_clip.CLIP(**config), config)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_clip(name)


def test_weights_that_a_file_brings_are_not_drawn_first(tmp_path, monkeypatch):
    config = {'embed_dim': 8, 'vision_cfg': VIT, 'text_cfg': TEXT}
    clip = open_clip.CLIP(**config)
    source, drawn = folder_of(tmp_path, clip, config), []
    for name in ('uniform_', 'normal_'):
        monkeypatch.setattr(torch.Tensor, name, lambda tensor, *_, **__: drawn.append(tensor) or tensor)
    loaded = load_clip(source).model.state_dict()
    rest = sum(tensor.numel() for tensor in drawn)
    assert all(torch.equal(value, loaded[name]) for name, value in clip.state_dict().items())
    drawn.clear()
    build_clip(config)
    assert 10 * rest < sum(tensor.numel() for tensor in drawn)
