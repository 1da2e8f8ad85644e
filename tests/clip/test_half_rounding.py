"""Weights through float16, as OpenAI's loader hands them over."""

import torch
from tiny_two_stage import ARCH, tiny_clip

from denseclip.clip.half_rounding import round_through_half
from denseclip.models.open_clip_parts import OpenCLIPParts


def test_linear_weights_are_rounded_and_norms_are_not():
    model = tiny_clip().clip.model
    exact = {key: value.clone() for key, value in model.state_dict().items()}
    round_through_half(model)
    rounded = model.state_dict()
    for key in ('visual.conv1.weight', 'visual.proj', 'transformer.resblocks.0.mlp.c_fc.weight'):
        assert torch.equal(rounded[key], exact[key].half().float()) and not torch.equal(rounded[key], exact[key])
    for key in ('visual.ln_pre.weight', 'positional_embedding', 'token_embedding.weight', 'logit_scale'):
        assert torch.equal(rounded[key], exact[key])
    assert all(value.dtype == exact[key].dtype for key, value in rounded.items())


def test_when_weights_are_read(tmp_path):
    state = tiny_clip().clip.model.state_dict()
    torch.save(state, tmp_path / 'clip.pt')
    for half in (False, True):
        settings = dict(arch=ARCH, quick_gelu=True, half_rounded=half)
        parts = OpenCLIPParts('ViT-B-16', str(tmp_path / 'clip.pt'), **settings)
        parts.load()
        assert torch.equal(parts.clip.model.state_dict()['visual.proj'], state['visual.proj']) is not half
