"""Weight files in full size, with random numbers, through the calls that users make."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from parity.torchscript import write_torchscript

from denseclip.clip.loading import build_clip
from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.weights import Uninitialised, WeightMismatchError
from denseclip.weights.convert import convert

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LAYOUTS = ROOT / 'tests/golden/data/denseclip/full_size_layouts'
CONFIGS = {
    'denseclip_fpn_res50_512x512_80k': 'denseclip_fpn_clip-r50_80k_ade20k-512x512',
    'denseclip_fpn_vit-b_640x640_80k': 'denseclip_fpn_clip-vit-b16_80k_ade20k-640x640',
    'fpn_clipres50_512x512_80k': 'fpn_clip-r50_80k_ade20k-512x512',
    'retinanet_denseclip_r50_fpn_1x_coco': 'denseclip_retinanet_clip-r50_fpn_1x-cropped-positions_coco-1333x800',
    'retinanet_clip_r50_fpn_1x_coco': 'retinanet_clip-r50_fpn_1x_coco-1333x800',
}


def build(config_name, **pretrained):
    """A model of full size; files replace what is looked at, and the rest need not be drawn."""
    config = Config.fromfile(ROOT / 'configs/denseclip' / f'{config_name}.py')
    for part, source in pretrained.items():
        config.model[part].pretrained = source
    with Uninitialised(), DefaultScope.overwrite_default_scope(config.default_scope):
        return MODELS.build(config.model)


def random_tensor(shape, dtype):
    return torch.rand(shape) * 0.01 if dtype == 'float32' else torch.zeros(shape, dtype=getattr(torch, dtype))


@pytest.mark.parametrize('layout', CONFIGS)
def test_a_released_file_loads_as_it_is(layout, tmp_path):
    names = json.loads((LAYOUTS / f'{layout}.json').read_text())['state_dict']
    state = {name: random_tensor(*entry) for name, entry in names.items()}
    meta = dict(mmseg_version='0.18.0', config='model = dict()', CLASSES=('wall', 'sky'), PALETTE=[[120, 120, 120]])
    file = tmp_path / f'{layout}.pth'
    torch.save({'meta': meta, 'state_dict': state, 'optimizer': {'state': {}, 'param_groups': []}}, file)
    content = read_training_file(str(file))
    file.unlink()
    model = build(CONFIGS[layout])
    assert not load_weights(model, content['state_dict'], source=file, strict=True)
    loaded = convert(model.state_dict(), 'denseclip', inverse=True)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_released_file_of_another_model_is_refused(tmp_path):
    names = json.loads((LAYOUTS / 'fpn_clipres50_512x512_80k.json').read_text())['state_dict']
    state = convert({name: random_tensor(*entry) for name, entry in names.items()}, 'denseclip')
    with pytest.raises(WeightMismatchError, match='missing.*contexts'):
        load_weights(build(CONFIGS['denseclip_fpn_res50_512x512_80k']), state, source='baseline.pth', strict=True)


@pytest.mark.parametrize(
    ('model_name', 'config', 'table', 'rows'),
    [
        ('RN50', 'denseclip_fpn_clip-r50_80k_ade20k-512x512', 'attnpool.positional_embedding', 1 + 16 * 16),
        ('ViT-B-16', 'denseclip_fpn_clip-vit-b16_80k_ade20k-640x640', 'positional_embedding', 1 + 40 * 40),
    ],
)
def test_an_openai_archive_starts_a_training(model_name, config, table, rows, tmp_path):
    with torch.device('meta'):
        clip = build_clip(open_clip.get_model_config(model_name)).state_dict()
    state = {k: random_tensor(v.shape, str(v.dtype).removeprefix('torch.')) for k, v in clip.items()}
    numbers = {k: torch.tensor(77) for k in ('input_resolution', 'context_length', 'vocab_size')}
    archive = write_torchscript({**state, **numbers}, tmp_path / f'{model_name}.pt')
    model = build(config, backbone=archive, text_encoder=archive)
    model.init_weights()
    visual, text = model.backbone.tower.visual.state_dict(), model.text_encoder.tower.state_dict()
    assert visual[table].shape[0] == rows
    torch.testing.assert_close(visual['conv1.weight'], state['visual.conv1.weight'].half().float())
    torch.testing.assert_close(text['positional_embedding'], state['positional_embedding'][:13].half().float())
    torch.testing.assert_close(text['text_projection'], state['text_projection'].half().float())
