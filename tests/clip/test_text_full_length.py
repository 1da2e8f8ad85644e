"""Text towers that need their padding."""

import open_clip
import pytest
import torch

from denseclip.clip.text import BPETokenizer, FullLengthTextTower

VIT = {'layers': 1, 'width': 16, 'patch_size': 8, 'image_size': 16, 'head_width': 8}


@pytest.mark.parametrize('change', [{'no_causal_mask': True, 'pool_type': 'last'}, {'embed_cls': True}])
def test_equals_open_clip_at_full_length(change):
    torch.manual_seed(0)
    config = {'context_length': 12, 'width': 16, 'heads': 2, 'layers': 1, **change}
    clip = open_clip.CustomTextCLIP(8, VIT, config).eval()
    tower = FullLengthTextTower(clip.text, BPETokenizer(), context_length=12, embed_dim=8, width=16)
    prompts = ['road', 'a traffic light']
    with torch.no_grad():
        assert torch.allclose(tower.encode(prompts), clip.encode_text(open_clip.tokenize(prompts, 12)), atol=1e-5)
    assert tower.tokenize('road').shape == (1, 12)
    with pytest.raises(ValueError, match='no learnable contexts'):
        tower.encode_tokens(tower.tokenize('road'), torch.zeros(1, 2, 16))


def test_the_text_half_of_a_plain_clip_is_taken():
    """CLIPA: its text has no module of its own; the whole model was once called, on token ids as pictures."""
    torch.manual_seed(0)
    config = {'context_length': 12, 'width': 16, 'heads': 2, 'layers': 1, 'no_causal_mask': True, 'pool_type': 'last'}
    clip = open_clip.CLIP(8, VIT, config).eval()
    tower = FullLengthTextTower(clip, BPETokenizer(), context_length=12, embed_dim=8, width=16)
    prompts = ['road', 'a traffic light']
    with torch.no_grad():
        assert torch.allclose(tower.encode(prompts), clip.encode_text(open_clip.tokenize(prompts, 12)), atol=1e-5)
    assert not [name for name, _ in tower.named_parameters() if 'visual' in name]
    assert tower.text.token_embedding is clip.token_embedding
