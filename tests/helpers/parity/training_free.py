"""Checks of training-free methods of 2025 and 2026, on one small image tower with random weights."""

from __future__ import annotations

from typing import Any

import torch

from denseclip.clip.alignment import Alignment
from denseclip.clip.attention import Guide, attend
from denseclip.clip.head_affinity import HeadAffinity
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.presets import preset
from denseclip.core.placement import Placement, slide_boxes
from denseclip.models.functional.label_propagation import lab_colours
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.presence import Presence
from denseclip.models.functional.propagation import Propagation, propagate
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors.score_maps import ScoreMaps
from denseclip.models.segmentors.spreading import LabelPropagation
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .dinoiser_variants import expect_patches, read
from .fixtures import Fixture
from .registry import consumes


def visual_of(fixture: Fixture) -> Any:
    """The image tower with OpenAI's activation."""
    weights = fixture if fixture.name.startswith('weights') else fixture.sibling('weights_visual')
    parts = OpenCLIPParts('ViT-B-16', arch=weights.config['clip'], quick_gelu=True)
    visual: Any = parts.clip.model.visual
    load_into(visual, convert(weights.state(), 'openai_clip', part='visual'), source=fixture.id)
    return visual


@consumes('training_free', 'weights_visual')
def check_weights(fixture: Fixture) -> None:
    assert len(visual_of(fixture).transformer.resblocks) == fixture.config['clip']['vision_cfg']['layers']


@consumes('training_free', 'pearl')
@torch.no_grad()
def check_pearl(fixture: Fixture) -> None:
    """Attention alone, the read-out of the preset with its settings, and the system that spreads scores."""
    visual, config = visual_of(fixture), fixture.config
    shipped = dict(preset('pearl').read_out)
    assert config['runs']['polar'] == dict(align_kk=0.08, align_iterations=5), 'no longer what the preset has'
    for match in list(fixture.outputs(r'dense_([a-z]+)_([a-z]+)')):
        settings = {**shipped, **config['runs'][match.group(1)]}
        expect_patches(fixture, match.group(), read(visual, fixture.input(f'image_{match.group(2)}'), settings))
    heads = [fixture.input(name)[:, None] for name in 'qkv']
    for match in list(fixture.outputs(r'attention_([a-z]+)')):
        run = config['runs'][match.group(1)]
        found = attend(*heads, 'aligned', align=Alignment(run['align_kk'], run['align_iterations']))
        fixture.expect(match.group(), found[:, 0])
    for match in list(fixture.outputs(r'solved_([a-z]+)_([a-z]+)')):
        text = fixture.input('text') if match.group(2) == 'text' else None
        name = match.group(1)
        picture, scores = fixture.input(f'picture_{name}'), fixture.input(f'scores_{name}')
        fixture.expect(match.group(), propagate(picture, scores, text, Propagation(config['grid'][name])))
        if fixture.has(f'out.large_{name}') and text is not None:
            large = scores * config['large']
            fixture.expect(f'large_{name}', propagate(picture, large, text, Propagation(config['grid'][name])))


@consumes('training_free', 'scclip')
@consumes('training_free', 'sfp')
@torch.no_grad()
def check_middle_layers(fixture: Fixture) -> None:
    """Repaired tokens and middle blocks: the preset, and other settings of the authors' code."""
    visual, shipped = visual_of(fixture), dict(preset(fixture.name).read_out)
    for match in list(fixture.outputs(rf'{fixture.name}_([a-z0-9]+)_([a-z]+)')):
        settings = {**shipped, **fixture.config['runs'][match.group(1)]}
        expect_patches(fixture, match.group(), read(visual, fixture.input(f'image_{match.group(2)}'), settings))


@consumes('training_free', 'cass')
@torch.no_grad()
def check_cass(fixture: Fixture) -> None:
    """Attention of heads alone, the read-out of the preset with recorded keys of DINO, and names that are moved."""
    visual, config = visual_of(fixture), fixture.config
    shipped = dict(preset('cass').read_out)
    for match in list(fixture.outputs(r'cass_([a-z]+)_([a-z]+)')):
        affinity = HeadAffinity(fixture.input(f'keys_{match.group(2)}'), **config['runs'][match.group(1)])
        image = fixture.input(f'image_{match.group(2)}')
        expect_patches(fixture, match.group(), read(visual, image, shipped, Guide(affinity=affinity)))
    for match in list(fixture.outputs(r'heads_([a-z]+)')):
        affinity = HeadAffinity(fixture.input('keys_heads'), **config['runs'][match.group(1)])
        fixture.expect(match.group(), affinity.average(fixture.input('k'), fixture.input('v'), tuple(config['grid'])))
    for name, settings in config['presence'].items():
        dense, pooled = fixture.input('patches').transpose(1, 2)[..., None], fixture.input('pooled')
        found = Presence(**settings).cosines(dense, pooled, fixture.input('names'))
        fixture.expect(f'presence_{name}', found[..., 0].transpose(1, 2))


class Recorded:
    """Features that the authors' run had, window by window."""

    def __init__(self, features: torch.Tensor) -> None:
        self.rest = features

    def features(self, images: torch.Tensor, spec: PreprocessSpec) -> torch.Tensor:
        del spec
        found, self.rest = self.rest[: len(images)], self.rest[len(images) :]
        return found


@consumes('training_free', 'lposs')
def check_lposs(fixture: Fixture) -> None:
    """Scores of all windows spread over patches and over pixels, at the picture's size."""
    config, picture = fixture.config, fixture.tensors['in.picture_u8'].float()[0] / 255
    fixture.expect('lab', lab_colours(picture))
    size = (picture.shape[1], picture.shape[2])
    boxes = slide_boxes(size, [config['crop']] * 2, [config['stride']] * 2)
    scores = list(cosine_scores(fixture.input('clip'), fixture.input('text')))
    placement = Placement(padded=size, out=size)
    for name, settings in config['runs'].items():
        given: Any = Recorded(fixture.input('dino'))
        spread = LabelPropagation(**settings)
        plain = PreprocessSpec(mean=(0.0,) * 3, std=(1.0,) * 3)
        maps = spread(ScoreMaps(scores[: len(boxes)], boxes), picture, given, plain, placement)
        fixture.expect(f'scores_{name}', maps.full(placement)[None])
