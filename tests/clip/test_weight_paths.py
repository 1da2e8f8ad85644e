"""Full-size weight files of every kind load through the call that users make, without a network.

The files are written here with random numbers in the layouts of the real ones.
"""

import json
import warnings

import open_clip
import pytest
import torch
from torch import nn

from denseclip.clip.loading import load_clip
from denseclip.weights import read_checkpoint, write_safetensors

pytestmark = pytest.mark.slow


def random_state(name):
    """Random half-precision tensors with the names and shapes of an architecture."""
    with torch.device('meta'):
        shapes = {
            k: (v.shape, v.is_floating_point())
            for k, v in open_clip.CLIP(**open_clip.get_model_config(name)).state_dict().items()
        }
    noise = (0.02 * torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))).half()
    state = {}
    for key, (shape, floating) in shapes.items():
        count = shape.numel()
        values = noise.repeat(-(-count // len(noise)))[:count].reshape(shape)
        state[key] = values if floating else torch.tensor(7)
        if key.endswith('running_var'):
            state[key] = values.abs() + 1
    return state


def save_openai_archive(state, path, resolution):
    """A TorchScript archive with OpenAI's module tree and its three extra integers."""
    root = nn.Module()
    extras = {'input_resolution': resolution, 'context_length': 77, 'vocab_size': 49408}
    for key, value in {**state, **{k: torch.tensor(v) for k, v in extras.items()}}.items():
        *parents, leaf = key.split('.')
        node = root
        for part in parents:
            if part not in node._modules:
                node.add_module(part, nn.Module())
            node = node._modules[part]
        node.register_buffer(leaf, value)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        torch.jit.save(torch.jit.script(root), str(path))
    return path


def assert_loaded(loaded, state):
    own = loaded.model.state_dict()
    assert set(own) == set(state)
    for key, value in state.items():
        assert torch.equal(own[key], value.to(own[key].dtype)), key


def assert_usable(loaded, embed_dim):
    with torch.no_grad():
        out = loaded.image_tower()(torch.randn(1, 3, 64, 96))
        text = loaded.text_tower().encode(['a road'])
    assert out.dense.shape[1] == text.shape[1] == embed_dim
    assert torch.isfinite(out.dense).all() and torch.isfinite(text).all()


@pytest.mark.parametrize(('name', 'embed_dim'), [('RN50', 1024), ('ViT-B-16', 512)])
def test_openai_archive(tmp_path, name, embed_dim):
    """With the name of its architecture and without it."""
    state = random_state(name)
    path = save_openai_archive(state, tmp_path / f'{name}.pt', 224)
    for loaded in (load_clip(name, path), load_clip(str(path))):
        assert_loaded(loaded, state)
        assert loaded.config['quick_gelu'] is True
        assert loaded.preprocess.size == (224, 224)
        assert_usable(loaded, embed_dim)
    assert read_checkpoint(path).format == 'torchscript'


def test_open_clip_safetensors_by_hub_name_local_dir_and_file(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)  # what HF_HUB_OFFLINE=1 sets at start
    base = tmp_path / 'models--laion--CLIP-ViT-B-16-laion2B-s34B-b88K'
    snapshot = base / 'snapshots' / ('b' * 40)
    (base / 'refs').mkdir(parents=True)
    (base / 'refs' / 'main').write_text('b' * 40)
    state = random_state('ViT-B-16')
    file = write_safetensors(state, snapshot / 'open_clip_model.safetensors')
    config = {
        'model_cfg': open_clip.get_model_config('ViT-B-16'),
        'preprocess_cfg': {'mean': [0.5] * 3, 'std': [0.5] * 3},
    }
    (snapshot / 'open_clip_config.json').write_text(json.dumps(config))

    by_hub = load_clip('hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K', cache_dir=tmp_path)
    assert_loaded(by_hub, state)
    assert_usable(by_hub, 512)
    assert by_hub.preprocess.mean == (0.5,) * 3
    assert_loaded(load_clip(f'local-dir:{snapshot}'), state)
    assert_loaded(load_clip('ViT-B-16', file), state)
