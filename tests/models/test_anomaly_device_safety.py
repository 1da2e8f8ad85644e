"""Anomaly models under fake CUDA tensors and on ``meta``: no tensor is made on the wrong device."""

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, total_loss
from mmengine.structures import PixelData
from tiny_anomaly import sample, tiny_clip, tiny_model

KINDS = {
    'anovl': dict(),
    'anovl-tiles': dict(tiles=True, keep_ratio=True, views=False),
    'winclip': dict(kind='WinCLIP'),
    'april-gan': dict(kind='AprilGAN', layers=(1,)),
}


def shallow(**settings):
    return tiny_model(clip=tiny_clip(layers=1), **settings)


@pytest.mark.parametrize('name', KINDS)
def test_raw_scores_on_fake_cuda(name):
    model = shallow(**KINDS[name])
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        answers = model(torch.randn(2, 3, 32, 48), [sample(img_shape=(32, 40)), sample()])
        assert {t.device.type for a in answers for t in (a.map, a.score)} == {'cuda'}
        assert [tuple(a.map.shape) for a in answers] == [(32, 40), (32, 48)]


@pytest.mark.parametrize('name', KINDS)
def test_raw_scores_on_meta(name):
    model = shallow(**KINDS[name]).to('meta')
    with meta_device(), torch.no_grad():
        assert model(torch.randn(1, 3, 32, 48))[0].map.is_meta


@pytest.mark.parametrize('kind', ['text', 'linear'])
@pytest.mark.parametrize('device', ['cuda', 'meta'])
def test_adaptation_loss_and_gradient(kind, device):
    """Up to the optimizer, whose step counter is read as a number."""
    model = tiny_model(adaptation=dict(kind=kind), tiles=True)
    text = model.text_of('bottle')
    with fake_cuda() if device == 'cuda' else meta_device():
        tokens = torch.randn(2, 4, 4, 8)
        here = text.to(device)
        draws = model.adaptation.draws(tokens, here.prompts)
        adapter = model.adaptation.start(here, draws)[0]
        loss = model.adaptation.loss(
            adapter, tokens, draws.noise[0].to(tokens), here.states, lambda maps: model.to_picture(maps, (32, 48))
        )
        assert loss.device.type == device
        if device == 'meta':  # a backward pass asks for the driver of a real CUDA device
            loss.backward()
            assert adapter.weight.grad.is_meta


@pytest.mark.parametrize('device', ['cuda', 'meta'])
def test_training_of_the_linear_heads(device):
    model = tiny_model('AprilGAN').train()
    with fake_cuda() if device == 'cuda' else meta_device() as mode:
        model = move_to_fake_cuda(model, mode) if device == 'cuda' else model.to('meta')
        given = sample(object_name='bottle')
        given.gt_mask = PixelData(data=torch.zeros(1, 32, 32))
        loss = total_loss(model(torch.randn(1, 3, 32, 32), [given], mode='loss'))
        assert loss.device.type == device
        if device == 'meta':
            loss.backward()
            assert all(p.grad is not None for p in model.fc.parameters())


@pytest.mark.parametrize('name', KINDS)
def test_bfloat16_autocast_is_finite(name):
    model = shallow(**KINDS[name])
    with torch.autocast('cpu', torch.bfloat16):
        answer = model.predict(torch.randn(1, 3, 32, 48))[0]
    assert torch.isfinite(answer.anomaly_map.data).all() and answer.anomaly_map.data.dtype == torch.float32
