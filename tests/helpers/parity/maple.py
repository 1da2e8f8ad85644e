"""Fixtures of MaPLe: coupled prompts in both towers, with the gradients of all of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.deep_prompts import CoupledPrompts
from denseclip.clip.loading import build_clip, fit_state
from denseclip.clip.text import CLIPTextTower
from denseclip.clip.towers import DenseReadOut, ImageTower, build_image_tower
from denseclip.weights import load_into
from denseclip.weights.convert import convert
from denseclip.weights.convert.clip_family import open_clip_names

from .fixtures import Fixture
from .registry import consumes


def _towers(fixture: Fixture) -> tuple[CoupledPrompts, CLIPTextTower, ImageTower, Tensor]:
    """The prompts, both towers with them, and the logarithm of the factor of the cosines."""
    config, theirs = fixture.config, fixture.state()
    vision = dict(width=config['vwidth'], layers=config['vlayers'], patch_size=config['patch'])
    vision.update(image_size=config['res'], head_width=config['vwidth'] // config['vheads'])
    text = {key: config[key] for key in ('width', 'heads', 'layers', 'vocab_size')}
    text['context_length'] = fixture.input('tokens').shape[1]
    model: Any = dict(embed_dim=config['embed'], vision_cfg=vision, text_cfg=text, quick_gelu=config['quick_gelu'])
    clip: Any = build_clip(model)
    words = {key.removeprefix('sdbase.'): v for key, v in fixture.tensors.items() if key.startswith('sdbase.')}
    load_into(clip.eval().requires_grad_(False), fit_state(clip, {**words, **open_clip_names(theirs).state}))
    prompts = CoupledPrompts.of_state(convert(theirs, 'maple'), fixture.id)
    assert (prompts.length, prompts.depth) == (config['n_ctx'], config['depth'])
    texts, images = CLIPTextTower(clip), build_image_tower(clip.visual, DenseReadOut(dense=False))
    texts.take_prompts(prompts)
    images.take_prompts(prompts)
    return prompts, texts, images, clip.logit_scale


@consumes('maple', 'forward')
def check_maple(fixture: Fixture) -> None:
    """Features of both towers, logits, loss, and gradients; the words that prompts replace are left out of the ids."""
    prompts, texts, images, log_scale = _towers(fixture)
    ids = fixture.input('tokens')
    ids = torch.cat([ids[:, :1], ids[:, 1 + prompts.length :]], dim=1)
    words = texts.token_embedding(ids)
    own = prompts.text()[0].expand(len(ids), -1, -1)
    fixture.expect('prompts', torch.cat([words[:, :1], own, words[:, 1:]], dim=1))
    first, *deep = prompts.image()
    fixture.expect('shared_ctx', first)
    for match in fixture.outputs(r'deep_vision\.(\d+)'):
        fixture.expect(match.group(), deep[int(match.group(1))])
    text, image = texts.encode_tokens(ids)[0], images(fixture.input('images')).pooled
    assert image is not None
    fixture.expect('text_features', text)
    fixture.expect('image_features', image)
    logits = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    fixture.expect('logits', logits)
    loss = F.cross_entropy(logits, fixture.input('labels'))
    fixture.expect('loss', loss)
    loss.backward()
    gradients = {name: p.grad for name, p in prompts.named_parameters()}
    for name, value in convert(gradients, 'maple', inverse=True).items():
        fixture.expect(f'grad.{name}', value)
