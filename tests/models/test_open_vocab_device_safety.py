"""Training-free models made of fake CUDA tensors, or on ``meta``: nothing is created on the wrong device."""

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, segmentation_batch
from tiny_open_vocab import READY, TINY_DINO, tiny_open_vocab

from denseclip.models.functional.region_scope import RegionMaps

# Fake tensors are slow: two presets stand for the others in quick runs.
SOME = [name if name in ('naclip', 'proxyclip') else pytest.param(name, marks=pytest.mark.slow) for name in READY]
LAYERS = {'gem': 6, 'resclip': 8, 'scclip': 11, 'sfp': 11}
"""What these presets count to; the others need no more than four."""
SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=4)


@pytest.mark.parametrize('name', SOME)
def test_predicts_on_fake_cuda(name):
    model = tiny_open_vocab(name, layers=LAYERS.get(name, 4), test_cfg=SLIDE)
    model.regions = None  # how many there are is a value, see the next test
    if model.sam is not None:
        model.sam.refine = None  # likewise
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        inputs, samples = segmentation_batch(2, (64, 90), ori_shape=(70, 99))
        result = model.predict(inputs, samples)[0].pred_sem_seg.data
    assert result.device.type == 'cuda' and tuple(result.shape) == (1, 70, 99)


def test_reads_regions_on_fake_cuda():
    model = tiny_open_vocab('corrclip', layers=4)
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        inputs, _ = segmentation_batch(2, (64, 90))
        model.in_view = RegionMaps(torch.zeros(2, 64, 90, dtype=torch.long), 4).windows([(0, 64, 0, 90)])
        assert model.head_logits(inputs).device.type == 'cuda'


@pytest.mark.parametrize('post', [dict(prob_threshold=0.1, area_threshold=0.1), dict(key_smoothing=1.0), dict(pamr={})])
def test_post_processing_on_fake_cuda(post):
    model = tiny_open_vocab('maskclip', layers=4, post=post)
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        inputs, samples = segmentation_batch(1, (33, 48), ori_shape=(40, 50))
        assert model.predict(inputs, samples)[0].pred_sem_seg.data.device.type == 'cuda'


@pytest.mark.parametrize('name', SOME)
def test_gradients_reach_the_picture_on_meta(name):
    free = dict(affinity=dict(dino=TINY_DINO, scope=None)) if name == 'corrclip' else {}
    model = tiny_open_vocab(name, layers=LAYERS.get(name, 4), **free).to('meta')
    with meta_device():
        inputs = torch.randn(2, 3, 64, 70).requires_grad_()
        scores = model.head_logits(inputs)
        assert scores.device.type == 'meta'
        scores.sum().backward()
    assert inputs.grad is not None
