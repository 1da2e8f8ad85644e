"""Checks of training-free methods of 2025 and 2026, on one small image tower with random weights."""

from __future__ import annotations

from typing import Any

import torch

from denseclip.clip.alignment import Alignment
from denseclip.clip.attention import Guide, attend
from denseclip.clip.head_affinity import HeadAffinity
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.presets import preset
from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.towers import DenseReadOut, ViTTower, build_image_tower
from denseclip.clip.towers.joined import JoinedWindows
from denseclip.core.placement import Placement, slide_boxes
from denseclip.models.functional.class_purification import map_agreement
from denseclip.models.functional.label_propagation import lab_colours
from denseclip.models.functional.open_vocab import cosine_scores
from denseclip.models.functional.presence import Presence
from denseclip.models.functional.propagation import Propagation, propagate
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors.patch_choice import Chooser, Seen, View
from denseclip.models.segmentors.score_maps import ScoreMaps
from denseclip.models.segmentors.spreading import LabelPropagation
from denseclip.models.segmentors.whole_picture import WindowJoin
from denseclip.structures.active_vocabulary import ActiveVocabulary
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


READ = {
    'MaskCLIP': {'attention': 'value', 'residual': False},
    'SCLIP': {'attention': 'qq+kk', 'residual': False},
    'ClearCLIP': {'attention': 'qq', 'residual': False, 'ffn': False},
}
"""How FreeCP's code reads the last block: never with its residual connection."""


@consumes('training_free', 'freecp')
@torch.no_grad()
def check_freecp(fixture: Fixture) -> None:
    """One window step by step, then the mean of all windows' maps and its labels."""
    config, scale = fixture.config, fixture.config['scale']
    parts = OpenCLIPParts('ViT-B-16', arch=config['clip'], quick_gelu=True)
    visual: Any = parts.clip.model.visual
    state = {**fixture.sibling('weights_visual').state(), 'visual.conv1.weight': fixture.state()['conv1.weight']}
    for key, value in state.items():  # else attention is so even that nothing changes when maps spread
        if key.endswith(('in_proj_weight', 'in_proj_bias')):
            value[: visual.conv1.out_channels] *= config['queries_times']
    load_into(visual, convert(state, 'openai_clip', part='visual'), source=fixture.id)
    text, picture = fixture.input('text'), fixture.input('picture')
    names = tuple(map(str, range(len(text))))
    crop_text = TextEmbeddings(fixture.input('crop_text'), torch.arange(len(text)), names)
    size = (picture.shape[2], picture.shape[3])
    boxes = slide_boxes(size, [config['crop']] * 2, [config['stride']] * 2)
    top_row, left_column, every = config['stored']
    for name, run in config['runs'].items():
        blocks = tuple(range(config['clip']['vision_cfg']['layers'] - 1))
        tower = build_image_tower(
            visual, DenseReadOut(**READ[run['model']], pooled=False, pos_resize='bicubic+0.1', weights_from=blocks)
        )

        def look(image: torch.Tensor, tower: Any = tower) -> View:
            out = tower(image)
            logits = scale * cosine_scores(out.dense, text)[0]
            weights = out.weights.mean(dim=1)[0, 1:, 1:]
            return View(logits, torch.ones_like(logits[0], dtype=torch.bool), Seen(weights=weights), image[0])

        def embed(crops: torch.Tensor, tower: Any = tower) -> torch.Tensor:
            with tower.reading(dense=False, pooled=True, weights_from=()):
                return tower(crops).pooled

        active = ActiveVocabulary(
            'agreement',
            threshold=run['threshold'],
            overlap=run['overlap'],
            side=config['side'],
            most=None,
            per='window',
            relabel=True,
        )
        chooser = Chooser(active, crop_text, scale, embed)
        view = look(picture[:, :, : config['window'][0], : config['window'][1]])
        assert view.seen.weights is not None
        before = view.logits.softmax(dim=0)
        after = chooser._spread(before, view)
        kept = active.keep(map_agreement(before, after), may_be_none=True)
        fixture.expect(f'weights_{name}', view.seen.weights[None])
        fixture.expect(f'before_{name}', before[None])
        fixture.expect(f'after_{name}', after[None])
        fixture.expect(f'first_{name}', kept.float())
        fixture.expect(f'kept_{name}', chooser.without_rivals(kept, after, view).float())
        views = [look(picture[:, :, top:bottom, left:right]) for top, bottom, left, right in boxes]
        _, maps = chooser.choose(views, ScoreMaps([v.logits for v in views], boxes), picture[0])
        slid = maps.full(Placement(padded=size, out=size))[None]
        fixture.expect(f'slid_{name}', slid[..., top_row::every, left_column::every])
        fixture.expect(f'labels_{name}', slid.argmax(dim=1).to(torch.uint8))


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


@consumes('training_free', 'glaclip')
@torch.no_grad()
def check_glaclip(fixture: Fixture) -> None:
    """The last block over the patches of all windows, by another network's recorded tokens."""
    config, picture = fixture.config, fixture.input('picture')
    tower = ViTTower(visual_of(fixture), DenseReadOut(pooled=False, **preset('glaclip').read_out))
    boxes = slide_boxes(picture.shape[2:], [config['crop']] * 2, [config['stride']] * 2)
    out = tower.before_last(torch.cat([picture[:, :, box[0] : box[1], box[2] : box[3]] for box in boxes]))
    assert out.tokens is not None and out.grid is not None
    every, features = range(len(boxes)), fixture.input('features')
    for name, settings in config['runs'].items():
        join = WindowJoin.of(settings)
        joined = JoinedWindows(tower, out.tokens, out.grid, [(0, 0)] * len(boxes), features, join.anchors)
        dense = torch.cat([joined.dense(n, every) for n in every])
        expect_patches(fixture, f'joined_{name}', dense.flatten(2).transpose(1, 2))


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
