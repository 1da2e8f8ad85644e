"""OVSeg's checkpoints and ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmseg.models.backbones.swin import WindowMSA
from tiny_ovseg import tiny_ovseg

from denseclip.models.heads.maskformer import OpenVocabMaskFormerHead
from denseclip.weights import WeightMismatchError, load_into, strip_prefix
from denseclip.weights.convert import convert
from denseclip.weights.convert.ovseg_backbones import merge_order, relative_positions

LAYOUTS = Path(__file__).parent / 'layouts'
CONFIGS = Path(__file__).parents[2] / 'configs' / 'ovseg'
RELEASED = {
    'swin-b_vit-l14': 'ovseg_swin-b_vit-l14_120k_ade20k-640x640',
    'r101c_vit-b16': 'ovseg_r101c_vit-b16_120k_voc20-512x512',
}
"""Layouts of the released files (names and shapes alone), and configs that they fit."""


def layout(name: str) -> dict[str, torch.Tensor]:
    """Tensors without values, as the released file has them."""
    state = {}
    for line in (LAYOUTS / f'ovseg_{name}.txt').read_text('utf-8').splitlines()[1:]:
        pattern, numbers, shape, dtype = line.split()
        size = () if shape == '.' else tuple(map(int, shape.split('x')))
        first, _, last = numbers.partition('-')
        for number in range(int(first), int(last) + 1) if last else ['']:
            key = pattern.replace('#', str(number))
            state[key] = torch.empty(size, dtype=getattr(torch, dtype), device='meta')
    return state


@pytest.mark.slow
@pytest.mark.parametrize('name', RELEASED)
def test_released_files_fit_the_configs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    linspace = torch.linspace  # Swin reads the values of one
    monkeypatch.setattr(torch, 'linspace', lambda *args: linspace(*args, device='cpu'))
    theirs = layout(name)
    config = Config.fromfile(CONFIGS / f'{RELEASED[name]}.py')
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        config.model.clip.pretrained = None
        model = MODELS.build(config.model)
    own = model.state_dict()
    ours = convert(theirs, 'ovseg')
    counters = {key for key in own if key.endswith('num_batches_tracked')}
    assert own.keys() - counters == ours.keys()
    assert all(own[key].shape == value.shape for key, value in ours.items())
    again = convert(own, 'ovseg', inverse=True)
    assert again.keys() == theirs.keys()
    assert all(again[key].shape == value.shape and again[key].dtype == value.dtype for key, value in theirs.items())


@pytest.mark.parametrize('backbone', ['swin', 'resnet'])
def test_there_and_back(backbone: str) -> None:
    model = tiny_ovseg(backbone)
    ours = model.state_dict()
    again = convert(convert(ours, 'ovseg', inverse=True, num_classes=4), 'ovseg')
    assert {key for key in ours if not key.endswith('num_batches_tracked')} == again.keys()
    assert all(torch.equal(again[key], ours[key]) for key in again)
    other = tiny_ovseg(backbone, seed=1)
    load_into(other, again)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one, two = (m.predict(images)[0].pred_sem_seg.data for m in (model, other))
    assert torch.equal(one, two)


def test_made_up_entries() -> None:
    theirs = convert(tiny_ovseg().state_dict(), 'ovseg', inverse=True, num_classes=3, no_object_weight=0.2)
    assert theirs['criterion.empty_weight'].tolist() == pytest.approx([1, 1, 1, 0.2])
    assert theirs['clip_adapter.pixel_mean'].flatten().tolist() == pytest.approx([122.77, 116.75, 104.09], abs=0.01)
    without = {k: v for k, v in tiny_ovseg(stage2=False).state_dict().items() if not k.startswith('text.')}
    assert 'clip_adapter.clip_model.logit_scale' not in convert(without, 'ovseg', inverse=True)


@given(st.integers(1, 5), st.integers(1, 4))
def test_merge_order_goes_back(channels: int, rows: int) -> None:
    value = torch.arange(rows * 4.0 * channels).view(rows, -1)
    assert torch.equal(merge_order(merge_order(value), inverse=True), value)


@pytest.mark.parametrize('window', [2, 7, 12])
def test_relative_positions_are_mmsegs(window: int) -> None:
    assert torch.equal(
        relative_positions((2 * window - 1) ** 2), WindowMSA(2, 1, (window, window)).relative_position_index
    )


def test_backbone_files_alone() -> None:
    """As Swin publishes them: with a classifier on top; window indices may be missing."""
    model = tiny_ovseg().backbone
    theirs = convert(model.state_dict(), 'ovseg', inverse=True)
    bare = {k: v for k, v in theirs.items() if 'relative_position_index' not in k}
    bare |= {
        'head.weight': torch.zeros(2, 2),
        'norm.weight': torch.zeros(2),
        'layers.0.blocks.1.attn_mask': torch.zeros(1),
    }
    again = convert(bare, 'ovseg')
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())


def test_pixel_decoders_with_an_encoder() -> None:
    head = OpenVocabMaskFormerHead([4, 6, 8], 7, feat_channels=32, dim=16, num_queries=2, pixel_encoder_layers=1)
    ours = {f'decode_head.{key}': value for key, value in head.state_dict().items()}
    theirs = convert(ours, 'ovseg', inverse=True)
    pixels = strip_prefix(theirs, 'sem_seg_head.pixel_decoder.')
    assert {'layer_3.weight', 'layer_3.norm.bias', 'adapter_2.weight', 'input_proj.bias'} < pixels.keys()
    assert 'transformer.encoder.layers.0.self_attn.in_proj_weight' in pixels and 'adapter_3.weight' not in pixels
    assert {k for k in convert(theirs, 'ovseg') if k.startswith('decode_head.')} == ours.keys()


@pytest.mark.parametrize('key', ['sem_seg_heads.x', 'backbone.blocks.0.weight', 'clip_adapter.other'])
def test_other_models_are_refused(key: str) -> None:
    state = {**convert(tiny_ovseg().state_dict(), 'ovseg', inverse=True), key: torch.zeros(1)}
    with pytest.raises(WeightMismatchError, match=key.removeprefix('backbone.')):
        convert(state, 'ovseg')
