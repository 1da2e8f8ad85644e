"""CLIP adapted by coupled prompts alone: what learns, how much that is, and what the exported folder gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.nn.functional import normalize

from denseclip.clip.deep_prompts import FILE_NAME, read_deep_prompts
from denseclip.clip.loading import load_clip
from denseclip.models.builder import build_module
from denseclip.models.pretraining import MaskAdaptedCLIP
from denseclip.models.pretraining.export import export_adapted_clip

ROOT = Path(__file__).parents[2]
ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=8, layers=4, width=32, head_width=8),
    text_cfg=dict(width=24, heads=2, layers=3),
)
NOUNS = ('dog', 'cat', 'dog')


def tiny(depth: int = 2, **options: Any) -> MaskAdaptedCLIP:
    torch.manual_seed(0)
    deep = dict(length=2, depth=depth)
    return MaskAdaptedCLIP(
        dict(model='ViT-B-16', arch=ARCH), train='coupled', deep_prompts=deep, train_scale=False, **options
    )


def batch() -> tuple[Tensor, list[BaseDataElement]]:
    generator = torch.Generator().manual_seed(0)
    infos = [dict(caption=f'a photo of a {noun}', caption_group=noun) for noun in NOUNS]
    return torch.randn(3, 3, 32, 32, generator=generator), [BaseDataElement(metainfo=info) for info in infos]


def test_prompts_alone_learn_and_the_loss_falls() -> None:
    model = tiny(negatives='other_nouns').train()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    trained = [p for p in model.parameters() if p.requires_grad]
    depth, length, text, image = 2, 2, 24, 32
    assert sum(p.numel() for p in trained) == depth * (length * text + text * image + image)
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    losses = []
    for _ in range(12):
        loss = model(*batch(), mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_what_is_remembered_follows_the_prompts() -> None:
    model = tiny(vocabulary='dog; cat').eval()
    before = model.class_rows(), model.sentences(['a dog'])
    torch.testing.assert_close(model.sentences(['a dog']), before[1])
    model.train()
    with torch.no_grad():
        model.deep_prompts.tokens[1].normal_()
    model.eval()
    for after, then in zip((model.class_rows(), model.sentences(['a dog'])), before, strict=True):
        assert not torch.allclose(after, then)


def test_the_exported_folder_brings_its_prompts_to_every_model(tmp_path: Path) -> None:
    inputs, samples = batch()
    model = tiny().eval()
    with torch.no_grad():
        for tokens in model.deep_prompts.tokens:
            tokens.normal_()
    export_adapted_clip(model, tmp_path, half=False)
    again = load_clip(f'local-dir:{tmp_path}')
    assert again.deep_prompts is not None and again.deep_prompts.depth == 2
    with torch.no_grad():
        texts = normalize(again.text_tower().encode(['a photo of a dog']), dim=-1)
        torch.testing.assert_close(texts, model.sentences(['a photo of a dog']))
        clip = dict(model=f'local-dir:{tmp_path}', preset='maskclip')
        segmentor = build_module(dict(type='OpenVocabularySegmentor', clip=clip, vocabulary='dog; cat')).eval()
        with_prompts = segmentor.head_logits(inputs)
        (tmp_path / FILE_NAME).rename(tmp_path / 'elsewhere.safetensors')
        plain = build_module(dict(type='OpenVocabularySegmentor', clip=clip, vocabulary='dog; cat')).eval()
        assert with_prompts.shape == plain.head_logits(inputs).shape == (3, 2, 4, 4)
        assert not torch.allclose(with_prompts, plain.head_logits(inputs), atol=1e-3)
    (tmp_path / 'elsewhere.safetensors').rename(tmp_path / FILE_NAME)
    further = MaskAdaptedCLIP(dict(model=f'local-dir:{tmp_path}'), train='coupled').eval()
    torch.testing.assert_close(further(inputs, samples), model(inputs, samples))
    fixed = MaskAdaptedCLIP(dict(model=f'local-dir:{tmp_path}'), train='image')
    assert not any(p.requires_grad for p in fixed.deep_prompts.parameters())
    export_adapted_clip(MaskAdaptedCLIP(dict(model='ViT-B-16', arch=ARCH)), tmp_path)
    assert read_deep_prompts(tmp_path) is None


def test_the_config_of_openais_clip_learns_less_than_four_million() -> None:
    name = 'adapt-coupled_vit-b16_5e_cococaptions-224x224'
    config = Config.fromfile(ROOT / f'configs/adapted_clip/{name}.py').model
    with torch.device('meta'):
        model = MaskAdaptedCLIP(**{**{k: v for k, v in config.items() if k != 'type'}, 'clip': dict(model='ViT-B-16')})
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    depth, length = config.deep_prompts.depth, config.deep_prompts.length
    assert count == depth * (length * 512 + 512 * 768 + 768) == 3_555_072
