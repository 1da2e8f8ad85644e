"""Picture sizes of timm's networks as trunks."""

import pytest
import timm
import torch

from denseclip.models.backbones import TimmTrunk
from denseclip.models.backbones.timm_sizes import built_for, create_flexible
from denseclip.weights import WeightMismatchError, write_safetensors

FEW = dict(depth=2, embed_dim=32, num_heads=2)
VIT = dict(model_name='vit_tiny_patch16_224', out_indices=(0, 1), **FEW)
EVA = dict(model_name='eva02_tiny_patch14_224', out_indices=(1,), **FEW)
SWIN = dict(
    model_name='swin_tiny_patch4_window7_224',
    out_indices=(0, 1, 2, 3),
    depths=(2, 1, 1, 1),
    embed_dim=16,
    num_heads=(1, 2, 2, 4),
)
BEIT = dict(model_name='beit_base_patch16_224', out_indices=(1,), **FEW)


def plain(config, **kwargs):
    """The same network as timm makes it."""
    options = {key: value for key, value in config.items() if key not in ('model_name', 'out_indices')}
    return timm.create_model(config['model_name'], pretrained=False, num_classes=0, **options, **kwargs).eval()


@pytest.mark.parametrize('config', [VIT, EVA, SWIN], ids=lambda c: c['model_name'])
@pytest.mark.parametrize('size', [(144, 256), (100, 150)])
def test_other_sizes(config, size):
    """They ended in a bare AssertionError of timm."""
    trunk = TimmTrunk(**config).eval()
    features = trunk(torch.randn(2, 3, *size))
    for feature, channels, stride in zip(features, trunk.out_channels, trunk.strides, strict=True):
        assert feature.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize('config', [VIT, EVA, SWIN], ids=lambda c: c['model_name'])
def test_the_own_size_is_what_timm_computes(config):
    trunk, reference = TimmTrunk(**config).eval(), plain(config)
    reference.load_state_dict(trunk.trunk.state_dict(), strict=False)
    x = torch.randn(1, 3, 224, 224)
    for one, other in zip(
        trunk(x),
        reference.forward_intermediates(x, indices=list(config['out_indices']), intermediates_only=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_transformer_sees_black_behind_the_picture():
    trunk = TimmTrunk(**VIT).eval()
    x = torch.randn(1, 3, 100, 150)
    whole = torch.nn.functional.pad(x, (0, 10, 0, 12))
    assert torch.equal(trunk(x)[-1], trunk(whole)[-1])


def test_a_choice_of_the_config_wins():
    fixed = TimmTrunk(**VIT, dynamic_img_size=False).eval()
    with pytest.raises(ValueError, match=r'built for pictures of 224x224 and cannot read 144x256: set img_size=\(144'):
        fixed(torch.randn(1, 3, 144, 256))


def test_the_cure_is_one_that_works():
    with pytest.raises(ValueError, match=r'set img_size=\(144, 256\) in this TimmTrunk') as caught:
        TimmTrunk(**BEIT).eval()(torch.randn(1, 3, 144, 256))
    assert isinstance(caught.value.__cause__, AssertionError)
    assert TimmTrunk(**BEIT, img_size=(144, 256)).eval()(torch.randn(1, 3, 144, 256))[0].shape == (1, 32, 9, 16)
    with pytest.raises(ValueError, match='resize or pad all pictures to 224x224, or take another trunk'):
        TimmTrunk('nest_tiny', out_indices=(2,)).eval()(torch.randn(1, 3, 144, 256))


def test_networks_that_need_multiples_say_so():
    trunk = TimmTrunk('hrnet_w18_small', out_indices=(4,)).eval()
    with pytest.raises(ValueError, match='multiples of 32 .size_divisor=32 in the data preprocessor'):
        trunk(torch.randn(1, 3, 72, 128))


def test_other_errors_stay_what_they_are():
    trunk = TimmTrunk(**VIT).eval()
    with pytest.raises(RuntimeError, match='channels'):
        trunk(torch.randn(1, 4, 224, 224))


def test_weights_of_the_own_size_are_fitted(tmp_path):
    """BEiT's distances and EVA's positions depend on the picture size; the file has those of 224 x 224."""
    for config in (BEIT, EVA):
        options = {key: value for key, value in config.items() if key not in ('model_name', 'out_indices')}
        complete = timm.create_model(config['model_name'], **options).eval()
        for parameter in complete.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        file = write_safetensors(complete.state_dict(), tmp_path / f'{config["model_name"]}.safetensors')
        patch = complete.patch_embed.patch_size[0]
        size = (9 * patch, 16 * patch)
        trunk = TimmTrunk(**config, img_size=size, pretrained=str(file)).eval()
        trunk.init_weights()
        complete.set_input_size(size)
        x = torch.randn(1, 3, *size)
        expected = complete.forward_intermediates(x, indices=[1], intermediates_only=True)[0]
        torch.testing.assert_close(trunk(x)[0], expected, atol=1e-5, rtol=1e-5)


def test_weights_that_cannot_be_fitted_are_named(tmp_path):
    complete = timm.create_model(VIT['model_name'], **{**FEW, 'embed_dim': 48})
    file = write_safetensors(complete.state_dict(), tmp_path / 'wide.safetensors')
    with pytest.raises(WeightMismatchError, match='28 of another shape'):
        TimmTrunk(**VIT, pretrained=str(file)).init_weights()


def test_what_a_network_was_built_for():
    assert built_for(create_flexible('vit_tiny_patch16_224', **FEW, img_size=160)) == (160, 160)
    assert built_for(create_flexible('resnet18')) is None
