"""No tower makes a tensor on the wrong device: they run on `meta` and on a pretended CUDA device."""

import pytest
import torch
from open_clip.timm_model import TimmModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.towers import DenseReadOut, build_image_tower, build_resnet, build_vit

MASKCLIP = DenseReadOut(attention='value', residual=False, ffn=False)
TOWERS = {
    'resnet': lambda: build_image_tower(build_resnet([1, 1, 1, 1], width=8, embed_dim=4, image_size=64)),
    'resnet-value': lambda: build_image_tower(
        build_resnet([1, 1, 1, 1], width=8, embed_dim=4, image_size=64), DenseReadOut(attention='value')
    ),
    'vit': lambda: build_image_tower(
        build_vit(image_size=32, patch_size=8, width=16, layers=2, heads=2, embed_dim=4), drop_path_rate=0.1
    ),
    'vit-value': lambda: build_image_tower(
        build_vit(image_size=32, patch_size=8, width=16, layers=2, heads=2, embed_dim=4), MASKCLIP
    ),
    'convnext': lambda: build_image_tower(TimmModel('test_convnext', embed_dim=4, pool='', proj='linear')),
    'siglip': lambda: build_image_tower(TimmModel('test_vit', embed_dim=64, pool='map', proj='none')),
}


def loss_of(tower, images):
    out = tower(images)
    return out.dense.float().square().mean() + out.pooled.float().square().mean() + sum(s.mean() for s in out.stages)


def on_cuda(module, *inputs):
    """Call a module with pretended CUDA parameters; what it creates without a device is on the CPU and clashes."""
    with FakeTensorMode():
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fake = {k: torch.empty(v.shape, dtype=v.dtype, device='cuda') for k, v in state.items()}
        return functional_call(module, fake, tuple(make() for make in inputs))


@pytest.mark.parametrize('name', TOWERS)
def test_image_towers_on_pretended_cuda(name):
    out = on_cuda(TOWERS[name](), lambda: torch.empty(2, 3, 64, 96, device='cuda'))
    assert {t.device.type for t in (out.dense, out.pooled, *out.stages)} == {'cuda'}


def test_pretended_cuda_notices_tensors_on_the_cpu():
    class Careless(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.arange(3)

    with pytest.raises(RuntimeError, match='device'):
        on_cuda(Careless(2, 3), lambda: torch.empty(1, 2, device='cuda'))


@pytest.mark.parametrize('name', TOWERS)
def test_image_towers_on_meta(name):
    tower = TOWERS[name]().to('meta')
    loss_of(tower, torch.empty(2, 3, 64, 96, device='meta')).backward()


@pytest.mark.parametrize('name', TOWERS)
def test_image_towers_under_bfloat16_autocast(name):
    torch.manual_seed(0)
    tower = TOWERS[name]()
    with torch.autocast('cpu', torch.bfloat16):
        loss = loss_of(tower, torch.randn(2, 3, 64, 96))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in tower.parameters() if p.grad is not None)


def text_tower():
    return CLIPTextTower.create(context_length=13, vocab_size=40, width=16, heads=2, layers=1, embed_dim=8)


class Encoder(torch.nn.Module):
    """The tower's call as a module's forward."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, tokens, contexts):
        return self.tower.encode_tokens(tokens, contexts)


def test_text_tower_on_pretended_cuda():
    out = on_cuda(
        Encoder(text_tower()),
        lambda: torch.zeros(3, 5, dtype=torch.long, device='cuda'),
        lambda: torch.empty(2, 8, 16, device='cuda'),
    )
    assert out.device.type == 'cuda' and out.shape == (2, 3, 8)


def test_text_tower_on_meta():
    tower = text_tower().to('meta')
    out = tower.encode_tokens(torch.zeros(3, 5, dtype=torch.long, device='meta'), torch.zeros(2, 8, 16, device='meta'))
    assert out.shape == (2, 3, 8)
