"""Checks of CLIP-DINOiser as a whole: inference, its variants, its teacher variant, and training."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor

from denseclip.models.functional.pictures import normalize_pictures
from denseclip.models.functional.pooling import suppress_weak
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors import CLIPDINOiser, DinoCLIP
from denseclip.models.teachers import DINOTeacher
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .dinoiser_teachers import found_teacher, tower
from .fixtures import Fixture, compare
from .registry import consumes

FEATURES = {'q': 'query', 'k': 'key', 'v': 'value'}
DEFAULTS = {'feats_idx': -3, 'conv_kernel': 3, 'gamma': 0.2, 'delta': 0.99}
"""Of the authors' constructor, for manifests that list only what differs."""


def plain(value: Any) -> Any:
    """Hyper-parameters that a manifest may hold as text."""
    if value == 'None':
        return None
    try:
        return float(value) if '.' in value else int(value)
    except (TypeError, ValueError):
        return value


def clip_parts(fixture: Fixture) -> OpenCLIPParts:
    """The tiny CLIP of a fixture, its image tower filled through the public converter."""
    config = fixture.config
    quick_gelu = 'quick' in config['activation'].lower()
    parts = OpenCLIPParts('ViT-B-16', arch=config['clip'], quick_gelu=quick_gelu, norm_eps=config['ln_eps'])
    visual: Any = parts.clip.model.visual
    state = convert(fixture.sibling('weights_clip').state(), 'openai_clip', part='visual')
    load_into(visual, state, source=fixture.id)
    return parts


def dinoiser(fixture: Fixture, prefix: str = '', **options: Any) -> CLIPDINOiser:
    """A CLIP-DINOiser with the sizes of a manifest and the weights ``sd.<prefix>*``."""
    config = {**DEFAULTS, **{k: plain(v) for k, v in fixture.config.items()}}
    config |= {k: plain(v) for k, v in options.pop('variant', {}).items()}
    model = CLIPDINOiser(
        clip_parts(fixture),
        head=dict(embed_dim=config['in_dim'], kernel_size=config.get('kernel', config['conv_kernel'])),
        feature_layer=config['feats_idx'],
        gamma=config['gamma'],
        delta=config['delta'],
        foreground_threshold=config.get('found_threshold', 0.5),
        **options,
    )
    head = convert(strip_prefix(fixture.state(), prefix), 'dinoiser')
    load_into(model, head, strict=False, source=fixture.id)
    load_into(model.head, strip_prefix(head, 'head.'), source=fixture.id)
    if 'class_embeddings' in fixture.state():
        model.set_class_embeddings(fixture.state()['class_embeddings'], config['classes'])
    return model.eval()


def expect_probabilities(fixture: Fixture, name: str, value: Tensor) -> None:
    """Compare softmax(100 cos), which has a tolerance of its own in the manifest."""
    tolerance = fixture.manifest['tolerance']
    reference = fixture.tensors[f'out.{name}']
    wide = {**tolerance, 'atol': tolerance.get('probs_atol', tolerance['atol'])}
    assert value.shape == reference.shape
    assert compare(value, reference, wide) is None, f'{fixture.id} {name}: {compare(value, reference, wide)}'
    fixture.compared.add(f'out.{name}')


def in_batch(model: Any, images: Tensor) -> Tensor:
    """Answer for a picture that stands between others."""
    batch = torch.cat([images.flip(3), images, images.flip(2)])
    count = images.shape[0]
    return model.head_logits(batch)[count : 2 * count]


def check_run(fixture: Fixture, model: CLIPDINOiser, run: str, pictures: Tensor) -> None:
    """Compare everything that the fixture has for one picture, suffix ``_<run>``."""
    images = normalize_pictures(pictures, model.tower.preprocess)
    out = model.read(images)
    features = model.head_input(out)
    assert out.dense is not None
    fixture.expect(f'bkg_{run}', model.head.foreground(features))
    fixture.expect(f'corrs_{run}', model.head.correlation(features))
    fixture.expect(f'feats_{run}', out.dense)
    fixture.expect(f'pooled_{run}', model.dense_features(images))
    expect_probabilities(fixture, f'probs_{run}', model.head_logits(images))
    if fixture.has(f'out.probs_found_{run}'):
        model.background_rule = True
        for answer in (model.head_logits(images), in_batch(model, images)):
            expect_probabilities(fixture, f'probs_found_{run}', answer)
        model.background_rule = False


@consumes('dinoiser', 'dinoiser_forward')
@torch.no_grad()
def check_dinoiser_forward(fixture: Fixture) -> None:
    model = dinoiser(fixture)
    for match in list(fixture.outputs(r'bkg_(\w+)')):
        check_run(fixture, model, match.group(1), fixture.input(f'image_{match.group(1)}'))


@consumes('dinoiser', 'dinoiser_variants')
@torch.no_grad()
def check_dinoiser_variants(fixture: Fixture) -> None:
    for name, variant in fixture.config['variants'].items():
        known = {k: v for k, v in variant.items() if k in (*DEFAULTS, 'kernel', 'in_dim')}
        check_run(fixture, dinoiser(fixture, f'{name}.', variant=known), name, fixture.input('image'))


@consumes('dinoiser', 'dinoclip_forward')
@torch.no_grad()
def check_dinoclip_forward(fixture: Fixture) -> None:
    config = fixture.config
    model = DinoCLIP(
        clip_parts(fixture),
        DINOTeacher(tower(fixture, 'dino'), FEATURES[config['enc_type_feats']]),
        found_teacher(fixture, antialias=config['antialias']),
        gamma=config['gamma'],
        delta=config['delta'],
    ).eval()
    model.set_class_embeddings(fixture.state()['class_embeddings'], config['classes'])
    images = normalize_pictures(fixture.input('image'), model.tower.preprocess)
    for rule in (False, True):
        model.background_rule = rule
        expect_probabilities(fixture, f'probs_found{int(rule)}', model.head_logits(images))


def optimizer_of(model: CLIPDINOiser, train: dict[str, Any]) -> OptimWrapper:
    """The recipe of ``configs/dinoiser`` with a manifest's rates."""
    ratio = train['found_lr'] / train['corr_lr']
    return build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='TrainableOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=train['corr_lr'], betas=(0.9, 0.999), weight_decay=0.01),
            paramwise_cfg=dict(custom_keys={'bkg_decoder': dict(lr_mult=ratio)}),
        ),
    )


@consumes('dinoiser', 'train_steps')
def check_train_steps(fixture: Fixture) -> None:
    """Targets, losses, gradients, learning rates and final weights of several optimiser steps."""
    config, train = fixture.config, fixture.config['train']
    dino = DINOTeacher(tower(fixture, 'dino'), FEATURES[config['enc_type_feats']])
    found = found_teacher(fixture, antialias=config['antialias'])
    model = dinoiser(fixture, correlation_teacher=dino, foreground_teacher=found).train()
    wrapper = optimizer_of(model, train)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='MultiStepLR', milestones=train['milestones'], gamma=train['step_lr_gamma'], by_epoch=False),
        default_args=dict(optimizer=wrapper),
    )
    batches = [images for _, images in fixture.inputs('batch')]
    check_targets(fixture, model, batches[0])
    rates = {id(p): g for g in wrapper.optimizer.param_groups for p in g['params']}
    groups = [rates[id(model.head.obj_proj.weight)], rates[id(model.head.bkg_decoder.weight)]]
    seen: dict[str, list[Tensor]] = {'loss_corr': [], 'loss_found': [], 'lr': []}
    for step in range(fixture.tensors['out.lr'].shape[0]):
        seen['lr'].append(torch.tensor([group['lr'] for group in groups], dtype=torch.float64))
        images = normalize_pictures(batches[step % len(batches)], model.tower.preprocess)
        losses = model.loss(images)
        seen['loss_corr'].append(losses['loss_correlation'].detach())
        seen['loss_found'].append(losses['loss_foreground'].detach())
        wrapper.zero_grad()
        wrapper.backward(sum(losses.values()))
        if step == 0:
            for name, parameter in model.head.named_parameters():
                assert parameter.grad is not None
                fixture.expect(f'grad0.{name}', parameter.grad)
        wrapper.step()
        scheduler.step()
    for name, values in seen.items():
        fixture.expect(name, torch.stack(values))
    check_weights(fixture, model)


def check_targets(fixture: Fixture, model: CLIPDINOiser, pictures: Tensor) -> None:
    """What the losses of the first iteration compare."""
    images = normalize_pictures(pictures, model.tower.preprocess)
    out = model.read(images)
    assert out.grid is not None and model.correlation_teacher is not None and model.foreground_teacher is not None
    features, raw = model.head_input(out), model.pictures(images)
    teacher = suppress_weak(model.correlation_teacher(raw, out.grid), model.gamma)
    fixture.expect('pred_corr0', model.head.correlation(features).clamp(min=0).flatten(2))
    fixture.expect('target_corr0', (teacher >= model.gamma).float().flatten(2))
    fixture.expect('pred_bkg0', model.head.foreground(features).flatten(2))
    fixture.expect('target_found0', (model.foreground_teacher(raw, out.grid) > 0.5).float().flatten(2))


def check_weights(fixture: Fixture, model: CLIPDINOiser) -> None:
    """Weights after the last step, under the authors' names.

    Adam divides a gradient by its own size, so where the first one is next to nothing (the manifest's note) the weight
    may be off by about the sum of the learning rates.
    """
    state = convert(model.state_dict(), 'dinoiser', inverse=True)
    assert sorted(state) == sorted(fixture.config['checkpoint_keys'])
    for name, value in state.items():
        first = fixture.tensors[f'out.grad0.{name}'].abs()
        rate = fixture.tensors['out.lr'][0, int(name.startswith('bkg_decoder'))]
        reference = fixture.tensors[f'out.sd_after.{name}']
        close = (value - reference).abs() <= 2e-5 + 1e-4 * reference.abs()
        assert bool((close | (first < 1e-6)).all()), f'{name}: {(value - reference).abs().max()}'
        assert float((value - reference).abs().max()) <= 2 * rate, name
        fixture.compared.add(f'out.sd_after.{name}')
