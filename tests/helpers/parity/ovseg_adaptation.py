"""Check of mask prompt tuning: features, gradients and steps of OVSeg's training code."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper, build_optim_wrapper

from denseclip.clip.loading import LoadedCLIP, build_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.text import CLIPTextTower
from denseclip.models.pretraining import MaskAdaptedCLIP
from denseclip.models.pretraining.contrastive import clamp_scale
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes


def adapted_model(fixture: Fixture) -> MaskAdaptedCLIP:
    """The fixture's tiny CLIP under mask prompt tuning, filled through the public converter."""
    c = fixture.config
    vision = dict(
        image_size=c['image_size'],
        patch_size=c['patch'],
        width=c['width'],
        layers=c['layers'],
        head_width=c['head_width'],
    )
    text = dict(
        context_length=c['context'],
        vocab_size=c['vocab'],
        width=c['text_width'],
        heads=c['text_heads'],
        layers=c['text_layers'],
    )
    config = dict(embed_dim=c['embed_dim'], vision_cfg=vision, text_cfg=text, quick_gelu=c['quick_gelu'])
    loaded = LoadedCLIP(build_clip(config), PreprocessSpec(), fixture.id, config)
    model = MaskAdaptedCLIP(loaded, train='prompts', prompt_depth=c['mask_emb_depth'])
    state = convert(fixture.state(), 'mask_adapted_clip')
    load_into(model, state, source=fixture.id)
    back = {key.removeprefix('module.'): v for key, v in convert(state, 'mask_adapted_clip', inverse=True).items()}
    assert back.keys() == fixture.state().keys()
    return model.train()


def optimizer(model: MaskAdaptedCLIP, config: dict[str, Any]) -> tuple[OptimWrapper, list[Any]]:
    """AdamW and the schedules as the configs of the suite write them."""
    decay = config['weight_decay']
    wrapper: Any = build_optim_wrapper(
        model,
        ConfigDict(
            constructor='TrainableOptimWrapperConstructor',
            optimizer=dict(
                type='AdamW',
                lr=config['base_lr'],
                betas=tuple(config['betas']),
                eps=config['eps'],
                weight_decay=decay['rest'],
            ),
            paramwise_cfg=dict(custom_keys=dict(logit_scale=dict(decay_mult=0.0), mask_embedding=dict(decay_mult=0.0))),
        ),
    )
    assert decay['gain_or_bias'] == decay['mask_embedding'] == 0
    warm, total = config['warmup'], config['total_steps']
    return wrapper, [
        LinearLR(wrapper, start_factor=1 / warm, by_epoch=False, begin=0, end=warm),
        CosineAnnealingLR(wrapper, eta_min=0.0, by_epoch=False, begin=warm, end=total),
    ]


@consumes('ovseg', 'openclip_mask_prompt_tuning')
def check_mask_prompt_tuning(fixture: Fixture) -> None:
    config = fixture.config
    model = adapted_model(fixture)
    clip: Any = model.clip
    named = {
        name.removeprefix('clip.').replace('mask_embedding', 'visual.mask_embedding')
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    assert named == set(config['trainable'])
    wrapper, schedules = optimizer(model, config)
    images, masks = fixture.input('images'), fixture.input('masks')
    tokens = fixture.input('text').long()
    losses, scales = [], []
    for step in range(config['steps']):
        assert abs(wrapper.get_lr()['lr'][0] - config['lrs'][step]) < 1e-9
        texts = F.normalize(CLIPTextTower(clip).encode_tokens(tokens[step])[0], dim=-1).detach()
        regions = model.embed(images[step], masks[step])
        groups = torch.arange(len(regions))
        loss = model.loss(regions, texts, groups)['loss']
        wrapper.zero_grad()
        wrapper.backward(loss)
        if step == 0:
            assert model.mask_embedding is not None
            fixture.expect('image_features', regions)
            fixture.expect('text_features', texts)
            fixture.expect('grad.mask_embedding', model.mask_embedding.grad)
            fixture.expect('grad.logit_scale', clip.logit_scale.grad)
        wrapper.step()
        clamp_scale(model.clip)
        for schedule in schedules:
            schedule.step()
        losses.append(loss.detach())
        scales.append(clip.logit_scale.detach().clone())
    fixture.expect('losses', torch.stack(losses))
    fixture.expect('logit_scale', torch.stack(scales))
    fixture.expect('mask_embedding_final', model.mask_embedding)
    with torch.no_grad():
        fixture.expect('features_without_mask', model.embed(images[0]))
