"""OVSeg's text rows, and its training recipe as the configs have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import Tensor, nn

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.class_embeddings import ClassEmbeddings
from denseclip.models.functional.text_logits import text_logits
from denseclip.models.segmentors.ovseg import OVSeg
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes

SCHEDULES = Path(__file__).parents[3] / 'configs' / '_base_' / 'schedules'
CLIP = 'clip_adapter.clip_model.'
NOT_OURS = ('criterion.empty_weight', 'clip_adapter.pixel_mean', 'clip_adapter.pixel_std', f'{CLIP}logit_scale')
"""Entries of their files that are no parameters of ours."""
SETS = {'vild': 'vild', 'imagenet': 'openai_imagenet'}
"""Our names of their sets of sentences."""


def text_tower(fixture: Fixture) -> CLIPTextTower:
    """The text tower of a fixture, through the public converter."""
    config = fixture.config
    tower = CLIPTextTower.create(
        context_length=config['context_length'],
        vocab_size=config['vocab_size'],
        width=config['width'],
        heads=config['heads'],
        layers=config['layers'],
        embed_dim=config['embed_dim'],
        quick_gelu='quick' in config['activation'].lower(),
    )
    state = fixture.state()
    rows = state.pop('token_embedding.rows')
    state['token_embedding.weight'] = torch.zeros(config['vocab_size'], rows.shape[1])
    state['token_embedding.weight'][fixture.input('token_row_ids').long()] = rows
    ours = convert({CLIP + key: value for key, value in state.items()}, 'ovseg')
    load_into(tower, strip_prefix(ours, 'text.tower.'), source=fixture.id)
    return tower.eval()


@consumes('ovseg', 'text_templates')
def check_text(fixture: Fixture) -> None:
    config = fixture.config
    tower = text_tower(fixture)
    vocabulary = Vocabulary.from_names(config['raw_class_names'])
    assert list(vocabulary.names) == config['class_names']
    no_object = F.normalize(fixture.input('non_object_embedding'), dim=-1)
    rows: dict[str, Tensor] = {}
    for theirs, ours in SETS.items():
        text = ClassEmbeddings(tower, ours)
        assert list(text.bank.templates) == config[f'{theirs}_templates']
        text.set_vocabulary(vocabulary)
        rows[theirs] = torch.cat([text().embeddings, no_object])
        fixture.expect(f'text_{theirs}', rows[theirs])
    sentences = [t.replace('{}', name) for t in config['vild_templates'] for name in vocabulary.names]
    tokens = tower.tokenize(sentences)
    tokens = F.pad(tokens, (0, config['context_length'] - tokens.shape[1]))
    fixture.expect('tokens_vild', tokens.unflatten(0, (-1, len(vocabulary))))
    fixture.expect('encode_text_first', tower.encode(sentences[0]))
    ones = torch.ones(len(vocabulary), dtype=torch.long)
    log_scale = torch.tensor(config['temperature']).log()
    logits = text_logits(fixture.input('query_embedding')[None], rows['vild'], ones, log_scale)
    fixture.expect('sim_logits', logits[0])


# --- the recipe -------------------------------------------------------------------------------------------------------


def small_model(names: list[str]) -> OVSeg:
    """A narrow model with the layers that the fixture's parameter names tell."""

    def number(prefix: str) -> int:
        return len({name.removeprefix(prefix).split('.')[0] for name in names if name.startswith(prefix)})

    if any(name.startswith('backbone.patch_embed') for name in names):
        depths = [number(f'backbone.layers.{i}.blocks.') for i in range(4)]
        backbone: dict[str, Any] = dict(type='SwinTransformer', embed_dims=4, depths=depths, num_heads=[1, 1, 2, 2])
        channels = [4, 8, 16, 32]
    else:
        depth = 101 if number('backbone.res4.') > 6 else 50
        norm = dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True, frozen_stages=1)
        backbone = dict(type='ResNetV1c', depth=depth, stem_channels=4, base_channels=2, **norm)
        channels = [8, 16, 32, 64]
    predictor, pixels = 'sem_seg_head.predictor.', 'sem_seg_head.pixel_decoder.'
    head = dict(
        in_channels=channels,
        feat_channels=32,
        mask_dim=8,
        dim=8,
        num_queries=2,
        num_heads=2,
        ffn_dim=8,
        embed_hidden_dim=8,
        decoder_layers=number(f'{predictor}transformer.decoder.layers.'),
        encoder_layers=number(f'{predictor}transformer.encoder.layers.'),
        pixel_encoder_layers=number(f'{pixels}transformer.encoder.layers.'),
        embed_layers=number(f'{predictor}class_embed.layers.'),
    )
    vision = dict(
        image_size=32, patch_size=16, width=8, head_width=8, layers=number(f'{CLIP}visual.transformer.resblocks.')
    )
    text = dict(width=8, heads=1, layers=number(f'{CLIP}transformer.resblocks.'))
    clip = dict(model='ViT-B-16', arch=dict(embed_dim=8, vision_cfg=vision, text_cfg=text))
    return OVSeg(backbone, head, clip, region_classifier=dict(type='RegionClassifier', prompt_depth=1))


def by_their_names(model: nn.Module) -> dict[str, nn.Parameter]:
    """Our parameters under the authors' names; each travels through the converter as its number."""
    parameters = list(model.named_parameters())
    numbered = {name: torch.full_like(p, float(i), requires_grad=False) for i, (name, p) in enumerate(parameters)}
    theirs = convert(numbered, 'ovseg', inverse=True)
    return {name: parameters[int(theirs[name].flatten()[0])][1] for name in theirs if name not in NOT_OURS}


@consumes('ovseg', 'optimizer')
def check_optimizer(fixture: Fixture) -> None:
    recipe = fixture.manifest
    groups, frozen = recipe['param_groups_lr_wd'], set(recipe['frozen'])
    model = small_model([*groups, *frozen])
    schedule = 'ovseg-resnet_120k' if 'R101' in recipe['base_yaml'] else 'ovseg_120k'
    config = Config.fromfile(SCHEDULES / f'{schedule}.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
    optimizer = wrapper.optimizer
    assert type(optimizer).__name__ == recipe['optimizer']
    assert list(optimizer.defaults['betas']) == recipe['betas'] and optimizer.defaults['eps'] == recipe['eps']
    assert wrapper.clip_grad_kwargs == dict(max_norm=0.01, norm_type=2) and '0.01, L2' in recipe['clip']
    settings = {id(p): [g['lr'], g['weight_decay']] for g in optimizer.param_groups for p in g['params']}
    ours = {name: settings.get(id(p)) for name, p in by_their_names(model).items()}
    trained = {name: value for name, value in ours.items() if value is not None}
    assert trained.keys() == groups.keys(), trained.keys() ^ groups.keys()
    for name, (rate, decay) in groups.items():
        assert abs(trained[name][0] - rate) <= 1e-12 and trained[name][1] == decay, name
    norms = {name for name in ours if name.startswith('backbone.') and '.norm.' in name}  # buffers in their ResNet
    assert ours.keys() - trained.keys() - norms == frozen - norms - {f'{CLIP}logit_scale'}
    check_warm_up(recipe, config)


def check_warm_up(recipe: dict[str, Any], config: Config) -> None:
    """Learning rate at chosen iterations, as a share of the base rate."""
    parameter = nn.Parameter(torch.zeros(1))
    schedule = PARAM_SCHEDULERS.build(
        config.param_scheduler[0], default_args=dict(optimizer=torch.optim.SGD([parameter], lr=1.0))
    )
    for step, factor in recipe['lr_factor_at_iter'].items():
        schedule.last_step = int(step)
        assert abs(schedule._get_value()[0] - factor) <= 1e-6 * factor + 1e-12, step


@consumes('ovseg', 'cosine_lr')
def check_cosine(fixture: Fixture) -> None:
    """Warm-up and cosine of the adaptation of CLIP, from MMEngine's own schedules."""
    recipe = fixture.manifest
    warm, total = recipe['warmup'], recipe['total']
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe['base_lr'])
    schedules = [
        LinearLR(optimizer, start_factor=1 / warm, by_epoch=False, begin=0, end=warm),
        CosineAnnealingLR(optimizer, eta_min=0.0, by_epoch=False, begin=warm, end=total),
    ]
    wanted = {int(step): rate for step, rate in recipe['lr_at_step'].items()}
    for step in range(max(wanted) + 1):
        if step in wanted:
            rate = optimizer.param_groups[0]['lr']
            assert abs(rate - wanted[step]) <= 1e-6 * wanted[step] + 1e-9, (step, rate, wanted[step])
        optimizer.step()
        for schedule in schedules if step <= warm else schedules[1:]:
            schedule.step()
