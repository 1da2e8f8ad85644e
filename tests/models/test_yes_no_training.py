"""The training of the tower that says no: what learns, from where it begins, and what the exported folder gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from denseclip.clip.loading import LoadedCLIP, build_clip, load_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.writing import write_clip_folder
from denseclip.models.builder import build_module
from denseclip.models.pretraining import YesNoCLIP, export_pretrained

CAPTIONS = ('a red mug on sand', 'two fish', 'a kite', 'two fish')


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP in a folder."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp('clip')
    vision = dict(image_size=32, patch_size=8, layers=2, width=32, head_width=8)
    text = dict(width=24, heads=2, layers=2)
    config = dict(embed_dim=16, vision_cfg=vision, text_cfg=text)
    write_clip_folder(
        LoadedCLIP(build_clip(config), PreprocessSpec.of({}, size=32), 'tiny', config, None), place, half=False
    )
    return place


def batch() -> tuple[Tensor, list[BaseDataElement]]:
    pictures = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pictures[3] = pictures[1]
    return pictures, [BaseDataElement(metainfo=dict(caption=c, caption_group=c)) for c in CAPTIONS]


def spec(folder: Path) -> dict[str, Any]:
    return dict(type='YesNoCLIP', clip=dict(model=f'local-dir:{folder}'), num_prompts=3)


def test_it_begins_undecided_and_learns_to_accept_and_to_deny_with_its_own_tower_alone(folder: Path) -> None:
    model: YesNoCLIP = build_module(spec(folder)).train()
    assert not model.clip.training and model.no_text.training
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith('no_text.') for name in trained)
    frozen = {name: p.clone() for name, p in model.named_parameters() if name not in trained}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    found = []
    images, groups = torch.eye(16)[[0, 1, 2, 1]], torch.tensor([0, 1, 2, 1])  # pictures that are told apart
    for _ in range(40):
        out = model.loss(images, CAPTIONS, groups)
        loss = sum(value for key, value in out.items() if key.startswith('loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append({key: float(value.detach()) for key, value in out.items()})
    log2 = 0.5 * 0.6931
    assert found[0]['loss_yes'] == pytest.approx(log2, abs=1e-3)  # both towers say the same
    assert found[0]['loss_no'] == pytest.approx(log2, abs=1e-3)
    assert found[-1]['accepted'] == 1.0 and found[-1]['denied'] > 0.8
    assert sum(v for k, v in found[-1].items() if 'loss' in k) < 0.6 * sum(
        v for k, v in found[0].items() if 'loss' in k
    )
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_a_caption_of_the_same_group_is_no_denial(folder: Path) -> None:
    model: YesNoCLIP = build_module(spec(folder)).eval()
    pictures, samples = batch()
    images = model(pictures)
    assert set(model(pictures, samples, mode='loss')) >= {'loss_yes', 'loss_no', 'loss_opposite'}
    with torch.no_grad():
        model.no_text.prompts.normal_()
        same, other = (model.loss(images, CAPTIONS, torch.tensor(groups)) for groups in ([0, 1, 2, 1], [0, 1, 2, 3]))
        alike = model.loss(images, CAPTIONS, torch.zeros(4, dtype=torch.long))
    assert torch.equal(same['loss_yes'], other['loss_yes']) and not torch.equal(same['loss_no'], other['loss_no'])
    assert alike['loss_no'] == 0 and alike['denied'] == 0
    with pytest.raises(ValueError, match='PackCaption'):
        model(pictures, mode='loss')
    with pytest.raises(ValueError, match="background='clipn'"):
        model(pictures, samples, mode='predict')


def test_the_exported_folder_gives_every_preset_the_background(folder: Path, tmp_path: Path) -> None:
    model: YesNoCLIP = build_module(spec(folder)).eval()
    with torch.no_grad():
        for parameter in model.no_text.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    export_pretrained(spec(folder), model.state_dict(), tmp_path, half=False)
    words = dict(classes=['mug', 'fish'], background='clipn')
    clip = dict(model=f'local-dir:{tmp_path}', preset='maskclip')
    used = build_module(dict(type='OpenVocabularySegmentor', clip=clip, vocabulary=words, templates='photo')).eval()
    with torch.no_grad():
        assert used.head_logits(batch()[0]).shape[1] == 3
        tower, tokens = used.parts.no_text_tower(), model.no_text.tokenize(list(CAPTIONS))
        torch.testing.assert_close(tower.encode_tokens(tokens), model.no_text.encode_tokens(tokens))
        plain = load_clip(f'local-dir:{folder}').model.encode_image(batch()[0])
        torch.testing.assert_close(load_clip(f'local-dir:{tmp_path}').model.encode_image(batch()[0]), plain)
