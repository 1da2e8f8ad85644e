"""Checks of GEM: the settings of its preset against the authors' code."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from denseclip.clip.presets import preset
from denseclip.clip.towers import DenseReadOut, ViTTower
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors import OpenVocabularySegmentor
from denseclip.weights import load_into, resize_positions
from denseclip.weights.convert import convert

from .dinoiser_variants import expect_patches
from .fixtures import Fixture
from .registry import consumes


@consumes('gem', 'read_out')
@torch.no_grad()
def check_read_out(fixture: Fixture) -> None:
    """Positions, both paths of the tower, class embeddings and scores at the pictures' size."""
    config = fixture.config
    parts = OpenCLIPParts('ViT-B-16', arch=config['clip'], quick_gelu='quick' in config['activation'].lower())
    load_into(parts.clip.model, convert(fixture.state(), 'openai_clip'), source=fixture.id)
    model = OpenVocabularySegmentor(
        {'parts': parts, 'preset': 'gem'}, vocabulary=config['names'], test_cfg={'keep_logits': True}
    ).eval()
    fixture.expect('text', model.class_embeddings().embeddings)
    visual: Any = parts.clip.model.visual
    shipped = DenseReadOut(**preset('gem').read_out)
    for match in list(fixture.outputs(r'gem_([a-z]+)(_.*)?')):
        run, words = match.group(1), fixture.manifest['tensors'][f'out.{match.group()}']['meaning']
        found = re.search(r'depth=(\d+), ss_attn_iter=(\d+)', words)
        assert found, f'{fixture.id} {match.group()}: its meaning no longer tells depth and iterations'
        how = replace(shipped, layers=int(found.group(1)) - 1, iterations=int(found.group(2)))
        if not match.group(2):
            assert how == shipped, 'the preset is no longer what the authors ship'
        images = fixture.input(f'image_{run}')
        out = ViTTower(visual, how)(images)
        assert out.dense is not None and out.grid is not None
        expect_patches(fixture, match.group(), out.dense.flatten(2).transpose(1, 2))
        if fixture.has(f'out.pooled_{run}') and not match.group(2):
            fixture.expect(f'pooled_{run}', out.pooled)
            mode, antialias = shipped.pos_resize, shipped.antialias
            table = resize_positions(visual.positional_embedding, out.grid, mode=mode, antialias=antialias)
            fixture.expect(f'pos_{run}', table)
        if fixture.has(f'out.cosines_{run}') and not match.group(2):
            size = images.shape[-2:]
            scores = F.interpolate(model.head_logits(images), size=size, mode='bilinear', align_corners=False)
            fixture.expect(f'cosines_{run}', scores[..., ::4, ::4])
