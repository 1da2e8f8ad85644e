"""Checks of the training-free methods that change the last block, and of what they do to scores."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.attention import Affinity, Guide, gaussian_bias
from denseclip.clip.blocks import self_attention
from denseclip.clip.presets import preset
from denseclip.clip.towers import DenseReadOut, ViTTower
from denseclip.models.functional.affinity import semantic_prior, similarity_logits
from denseclip.models.functional.open_vocab import merge_names, thresholded_labels
from denseclip.models.functional.pamr import pamr
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors.resclip import residual_guide
from denseclip.weights import load_into, resize_positions
from denseclip.weights.convert import convert

from .fixtures import Fixture, compare
from .registry import consumes

WHOLE: dict[str, Any] = {'residual': True, 'ffn': True}
REDUCED: dict[str, Any] = {'residual': False, 'ffn': False}
NACLIP = {'vanilla': 'qk', 'csa': 'qq+kk', 'kk': 'kk', 'naclip': 'kk', 'nonly': 'prior'}
CLEARCLIP = {'vanilla': 'qk', 'MaskCLIP': 'value', 'SCLIP': 'qq+kk', 'ClearCLIP': 'qq'}


def numbers(fixture: Fixture, name: str, pattern: str) -> list[float | None]:
    """Settings from the words that a manifest describes a result with; ``None`` there means not used."""
    found = re.search(pattern, fixture.manifest['tensors'][f'out.{name}']['meaning'])
    assert found, f'{fixture.id} {name}: its meaning no longer tells {pattern}'
    values = [part.strip() for group in found.groups() for part in group.split(',')]
    return [None if value == 'None' else float(value) for value in values]


def visual_of(fixture: Fixture, quick_gelu: bool) -> Any:
    """The tiny image tower with one of the two activations that the repositories use."""
    parts = OpenCLIPParts('ViT-B-16', arch=fixture.config['clip'], quick_gelu=quick_gelu)
    visual: Any = parts.clip.model.visual
    load_into(visual, convert(fixture.sibling('weights_clip').state(), 'openai_clip', part='visual'), source=fixture.id)
    return visual


def read(visual: Any, image: Tensor, settings: dict[str, Any], guide: Guide | None = None) -> Tensor:
    """Patch embeddings (N, hw, E) of a read-out with the positions that these repositories use."""
    dense = ViTTower(visual, DenseReadOut(pooled=False, **{'pos_resize': 'bicubic+0.1', **settings}))(
        image, guide
    ).dense
    assert dense is not None
    return dense.flatten(2).transpose(1, 2)


def expect_patches(fixture: Fixture, name: str, patches: Tensor) -> None:
    """Compare with a result that may have a class token, which no dense method reads."""
    reference = fixture.tensors[f'out.{name}'][:, -patches.shape[1] :]
    problem = compare(patches, reference, fixture.manifest['tolerance'])
    assert problem is None, f'{fixture.id} {name}: {problem}'
    fixture.compared.add(f'out.{name}')


@consumes('dinoiser', 'beyond_last_layer')
@torch.no_grad()
def check_beyond_last_layer(fixture: Fixture) -> None:
    quick, exact = visual_of(fixture, True), visual_of(fixture, False)
    check_self_attentions(fixture, quick, exact)
    check_named_presets(fixture, quick, exact)
    check_proxyclip(fixture, exact)
    check_resclip(fixture, quick)
    check_scores(fixture)


def check_self_attentions(fixture: Fixture, quick: Any, exact: Any) -> None:
    image, std = fixture.input('image'), fixture.config['gaussian_std']
    grid = tuple(side // quick.patch_size[0] for side in image.shape[-2:])
    fixture.expect('pos_scale01', resize_positions(quick.positional_embedding, grid, mode='bicubic+0.1')[None])
    fixture.expect('naclip_gauss', gaussian_bias(grid, std))
    for name, attention in (('sclip_csa1', 'qq+kk'), ('sclip_csa0', 'qk')):
        expect_patches(fixture, name, read(quick, image, {**WHOLE, 'attention': attention}))
    for match in list(fixture.outputs(r'naclip_(reduced|vanilla)_(\w+)')):
        settings = {**(REDUCED if match.group(1) == 'reduced' else WHOLE), 'attention': NACLIP[match.group(2)]}
        if match.group(2) in ('naclip', 'nonly'):
            settings['gaussian'] = std
        expect_patches(fixture, match.group(), read(quick, image, settings))
    for match in list(fixture.outputs(r'clearclip_(\w+)_nores(\d)')):
        settings = {**(REDUCED if match.group(2) == '1' else WHOLE), 'attention': CLEARCLIP[match.group(1)]}
        expect_patches(fixture, match.group(), read(exact, image, settings))


def check_named_presets(fixture: Fixture, quick: Any, exact: Any) -> None:
    """The presets are the settings that the repositories ship."""
    image = fixture.input('image')
    shipped = {
        'sclip': (quick, 'sclip_csa1'),
        'clip': (quick, 'sclip_csa0'),
        'naclip': (quick, 'naclip_reduced_naclip'),
    }
    shipped['clearclip'] = (exact, 'clearclip_ClearCLIP_nores1')
    for name, (visual, result) in shipped.items():
        settings = dict(preset(name).read_out)
        if 'gaussian' in settings:
            settings['gaussian'] = fixture.config['gaussian_std']  # the one thing that a fixture may set otherwise
        expect_patches(fixture, result, read(visual, image, settings))


def check_proxyclip(fixture: Fixture, visual: Any) -> None:
    tokens = fixture.input('vfm_feat')
    for match in list(fixture.outputs(r'proxyclip_b([\d.]+)_g([\d.]+)')):
        logits = similarity_logits(tokens, float(match.group(1)), float(match.group(2)))
        guide = Guide(affinity=Affinity(logits, (tokens.shape[2], tokens.shape[3])))
        found = read(visual, fixture.input('image_sq'), dict(preset('proxyclip').read_out), guide)
        fixture.expect(match.group(), found)


def check_resclip(fixture: Fixture, visual: Any) -> None:
    labels = fixture.input('patch_labels')
    prior = semantic_prior(labels[None].long(), fixture.config['gaussian_std'])
    fixture.expect('resclip_sfr', prior)
    feedback = numbers(fixture, 'resclip_attn', r'sfr=\(([\d., ]+)\)')
    cross = numbers(fixture, 'resclip_attn', r'rcs=\(([\d., ]+)\)')
    guide = residual_guide(fixture.input('rcs')[None], prior, cross, feedback)
    attn, tokens = visual.transformer.resblocks[-1].attn, fixture.input('tokens').transpose(0, 1)
    near = gaussian_bias((labels.shape[0], labels.shape[1]), fixture.config['gaussian_std'])
    found = self_attention(attn, tokens, kind='kk', mask=near, guide=guide).transpose(0, 1)
    wide = {**fixture.manifest['tolerance'], 'atol': fixture.manifest['tolerance']['resclip_attn_atol']}
    problem = compare(found, fixture.tensors['out.resclip_attn'], wide)
    assert problem is None, f'{fixture.id} resclip_attn: {problem}'
    fixture.compared.add('out.resclip_attn')


def check_scores(fixture: Fixture) -> None:
    image, mask = fixture.input('pamr_image'), fixture.input('pamr_mask')
    for name in [match.group() for match in fixture.outputs(r'pamr\w*')]:
        iterations, *dilations = map(int, numbers(fixture, name, r'\((\d+)[^,]*, dilations ([\d,]+)'))
        fixture.expect(name, pamr(image, mask, iterations, dilations))
    index = fixture.input('query_idx').long()
    settings = r'logit_scale=([\d.]+), prob_thd=([\d.]+|None), area_thd=([\d.]+|None)'
    for match in list(fixture.outputs(r'merge_scores_(\w+)')):
        name = match.group(1)
        scale, probability, area = numbers(fixture, f'merge_scores_{name}', settings)
        probabilities = (fixture.input('prompt_logits')[0] * scale).softmax(dim=0)
        scores = merge_names(probabilities, index, int(index.max()) + 1)
        labels, scores = thresholded_labels(scores, 0, probability, area)
        fixture.expect(f'merge_scores_{name}', scores)
        assert torch.equal(labels[None].to(torch.int16), fixture.tensors[f'out.merge_pred_{name}'])
        fixture.compared.add(f'out.merge_pred_{name}')
