"""Both towers of an open_clip model: which activation and whose weights."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from parity.torchscript import write_torchscript
from torch import nn

from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import write_safetensors

ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=16, layers=2, width=16, head_width=8),
    text_cfg=dict(context_length=8, vocab_size=49408, width=16, heads=2, layers=1),
)


def activations(parts: OpenCLIPParts) -> set[type]:
    return {type(m) for m in parts.clip.model.modules() if isinstance(m, (QuickGELU, nn.GELU))}


@pytest.mark.parametrize(
    ('model', 'archive', 'quick_gelu', 'expected'),
    [
        ('ViT-B-16', True, None, QuickGELU),
        ('ViT-B-16', True, False, nn.GELU),
        ('ViT-B-16', False, None, nn.GELU),
        ('ViT-B-16', False, True, QuickGELU),
        ('ViT-B-16-quickgelu', False, None, QuickGELU),
    ],
)
def test_activation_of_weights_from_a_file(tmp_path: Path, model, archive, quick_gelu, expected) -> None:
    torch.manual_seed(0)
    state = open_clip.CLIP(**ARCH).state_dict()
    file = write_torchscript(state, tmp_path / 'clip.pt') if archive else tmp_path / 'clip.safetensors'
    if not archive:
        write_safetensors(state, file)
    parts = OpenCLIPParts(model, str(file), arch=ARCH, quick_gelu=quick_gelu)
    assert activations(parts) == {expected}
    parts.load()
    torch.testing.assert_close(
        parts.clip.model.visual.proj, state['visual.proj'], rtol=1e-3, atol=1e-3
    )  # archives are half


def test_a_missing_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    parts = OpenCLIPParts('ViT-B-16', str(tmp_path / 'lost.pt'), arch=ARCH)
    with pytest.raises(FileNotFoundError, match=r'lost\.pt'):
        parts.load()


def test_a_folder_takes_no_other_weights() -> None:
    folder = 'local-dir:checkpoints/miniworld_clip'
    own = OpenCLIPParts(folder, folder)
    before = {k: v.clone() for k, v in own.clip.model.state_dict().items()}
    own.load()
    assert all(torch.equal(v, before[k]) for k, v in own.clip.model.state_dict().items())
    with pytest.raises(ValueError, match="leave pretrained='openai' out"):
        OpenCLIPParts(folder, 'openai')
