"""Checks of CLIP-DINOiser's teachers, pooling and background rule."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from denseclip.core.placement import pad_to_multiple
from denseclip.models.functional.background import assign_background
from denseclip.models.functional.pooling import correlation_pool, suppress_weak
from denseclip.models.teachers import DINOTeacher, DINOTower, FOUNDSeedTeacher, FOUNDTeacher
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes

TEACHERS = 'weights_teachers'


def tower(fixture: Fixture, part: str) -> DINOTower:
    """The tiny DINO (``part='dino'``) or FOUND's encoder (``'found'``) of a fixture, through the public converter."""
    config: dict[str, Any] = fixture.config[part]
    built = DINOTower(
        'vit_base_patch16_224',
        img_size=config['img_size'],
        patch_size=config['patch'],
        embed_dim=config['embed_dim'],
        depth=config['depth'],
        num_heads=config['num_heads'],
        mlp_ratio=config['mlp_ratio'],
        qkv_bias=config['qkv_bias'],
        norm_layer=partial(torch.nn.LayerNorm, eps=config['ln_eps']),
    )
    state = strip_prefix(fixture.sibling(TEACHERS).state(), f'{part}.')
    load_into(built.vit, convert(state, 'dino'), source=fixture.id)
    return built


def found_teacher(fixture: Fixture, **options: Any) -> FOUNDTeacher:
    teacher = FOUNDTeacher(tower(fixture, 'found'), **options)
    decoder = strip_prefix(fixture.sibling(TEACHERS).state(), 'found_decoder.')
    load_into(teacher.decoder, convert(decoder, 'found'), source=fixture.id)
    return teacher


@consumes('dinoiser', 'weights_teachers')
def check_weights_teachers(fixture: Fixture) -> None:
    """Both networks and the decoder go through their converters and back without loss."""
    state = fixture.state()
    parts = {'dino.': 'dino', 'found.': 'dino', 'found_decoder.': 'found'}
    seen: set[str] = set()
    for prefix, converter in parts.items():
        theirs = strip_prefix(state, prefix)
        ours = convert(theirs, converter)
        back = convert(ours, converter, inverse=True)
        assert set(back) == set(theirs) and all(torch.equal(back[key], theirs[key]) for key in theirs)
        seen |= {prefix + key for key in theirs}
    assert seen == set(state)


@consumes('dinoiser', 'teachers')
def check_teachers(fixture: Fixture) -> None:
    gamma = fixture.config['gamma']
    dino, found = tower(fixture, 'dino'), found_teacher(fixture)
    smooth = FOUNDTeacher(found.tower, antialias=True)
    smooth.decoder = found.decoder
    seed = FOUNDSeedTeacher(found.tower, threshold=fixture.config['bkg_th'])
    for match in list(fixture.outputs(r'dino_q_(\w+)')):
        run = match.group(1)
        # as CLIP-DINOiser pads, to DINO's patches; FOUND's are smaller
        images = pad_to_multiple(fixture.input(f'image_{run}'), dino.patch_size)
        for name, feature in {'q': 'query', 'k': 'key', 'v': 'value'}.items():
            teacher = DINOTeacher(dino, feature)
            fixture.expect(f'dino_{name}_{run}', teacher.features(images).flatten(2))
            if fixture.has(f'out.corrs_{name}_{run}'):
                fixture.expect(f'corrs_{name}_{run}', suppress_weak(teacher(images), gamma))
        grid = tuple(fixture.tensors[f'out.found_prob_small_{run}'].shape[-2:])
        fixture.expect(f'found_logits_{run}', found.logits(images))
        fixture.expect(f'found_prob_{run}', found.foreground(images))
        fixture.expect(f'found_prob_small_{run}', found(images, grid))
        fixture.expect(f'found_prob_small_aa_{run}', smooth(images, grid))
        attention = seed.read(images, attention=True).attention
        assert attention is not None
        fixture.expect(f'cls_att_{run}', attention)
        fixture.expect(f'bkg_mask_{run}', seed.background(images)[:, 0].float())


@consumes('dinoiser', 'pool_and_background')
def check_pool_and_background(fixture: Fixture) -> None:
    config = fixture.config
    for match in list(fixture.outputs(r'pooled(_\w+)?')):
        features = fixture.input(f'feats{match.group(1) or ""}')
        fixture.expect(match.group(), correlation_pool(features, fixture.input('corrs'), config['eps']))
    probabilities = fixture.input('probs')
    foreground = fixture.input('fg_logits').sigmoid() > config['found_threshold']
    for match in list(fixture.outputs(r'probs_found_([\d.]+)')):
        delta = float(match.group(1))
        fixture.expect(match.group(), assign_background(probabilities, foreground, delta))
        fixture.expect(match.group(), in_a_batch(probabilities, foreground, delta))


def in_a_batch(probabilities: Tensor, foreground: Tensor, delta: float) -> Tensor:
    """The rule's answer for a picture that stands between others in a batch."""
    others = probabilities.flip(2), foreground.flip(2)
    batch = torch.cat([others[0], probabilities, others[0]])
    mask = torch.cat([others[1], foreground, others[1]])
    count = probabilities.shape[0]
    return assign_background(batch, mask, delta)[count : 2 * count]
