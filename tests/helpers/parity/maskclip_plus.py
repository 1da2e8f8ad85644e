"""Checks of MaskCLIP+: pseudo-labels, losses and the student's logits."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.models.functional.pseudo_labels import UNLABELLED
from denseclip.models.heads import MaskCLIPPlusHead
from denseclip.models.segmentors import MaskCLIPPlus, OpenVocabularySegmentor
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .registry import consumes
from .samples import data_samples, expected_accuracy

COUNTS = {'one': 1, 'two': 2, 'three': 3, 'four': 4, 'five': 5}
PARTS: dict[str, dict[str, Any]] = {
    'ks': dict(post=dict(key_smoothing=1.0, key_smoothing_as_released=True)),
    'pd': dict(post=dict(prompt_denoising=0.5)),
    'kspd': dict(post=dict(key_smoothing=1.0, key_smoothing_as_released=True, prompt_denoising=0.5)),
    'zeroshot': dict(zero_shot=True),
    'selftrain': dict(zero_shot=True, self_training=True),
    'distill': dict(pseudo_labels=False, distillation=1.0),
    'annfree': {},
}
"""The authors' constructor arguments behind the parts of a variant's name in a manifest."""


def options_of(name: str) -> dict[str, Any]:
    """Options of a variant; a part that is not known is an error."""
    return {key: value for part in name.split('_') for key, value in PARTS[part].items()}


def unseen_count(fixture: Fixture) -> int:
    """How many of the last classes are unseen in the zero-shot variants, as the manifest says it in words."""
    told = fixture.manifest['tensors']['in.gt']['meaning']
    found = re.search(r'last (\w+) class ids?', told)
    assert found, f'{fixture.id}: in.gt no longer tells which classes are unseen: {told}'
    return COUNTS[found.group(1)] if found.group(1) in COUNTS else int(found.group(1))


class Features(nn.Module):
    """Stands for the student's backbone: fixtures begin with its features."""

    def forward(self, features: Tensor) -> tuple[Tensor]:
        return (features,)


def teacher(fixture: Fixture, post: dict[str, Any] | None) -> OpenVocabularySegmentor:
    """The frozen original MaskCLIP of a fixture, through the public converter."""
    config = fixture.config
    arch = dict(
        embed_dim=config['D'],
        vision_cfg=dict(
            image_size=config['img_size'][0],
            layers=config['layers'],
            width=config['dim'],
            head_width=config['dim'] // config['heads'],
            patch_size=config['patch'],
        ),
        text_cfg=dict(width=16, heads=2, layers=1),
    )
    # Epsilon and activation belong to the authors' code, which the shared weights' manifest describes.
    shared = fixture.sibling('maskclip_orig_vit')
    quick_gelu = 'quick' in shared.config['act'].lower()
    clip = dict(model='ViT-B-16', arch=arch, quick_gelu=quick_gelu, norm_eps=shared.config['ln_eps'])
    model = OpenVocabularySegmentor(clip=dict(**clip, preset='maskclip_orig'), post=post)
    weights = {k: v for k, v in shared.state().items() if k.startswith('backbone.')}
    weights['decode_head.proj.weight'] = fixture.state()['proj.weight']
    load_into(model.tower.visual, strip_prefix(convert(weights, 'maskclip'), 'visual.'), source=fixture.id)
    return model


def student(fixture: Fixture, post: dict[str, Any] | None, **options: Any) -> MaskCLIPPlus:
    config = fixture.config
    head = MaskCLIPPlusHead(
        embed_dim=config['D'],
        dilations=config['dilations'],
        in_channels=config['in_channels'],
        in_index=0,
        input_transform=None,
        norm_cfg=dict(type='BN'),
        align_corners=False,
    )
    names = [f'class {k}' for k in range(config['K'])]
    model = MaskCLIPPlus(Features(), head, teacher(fixture, post), names, shared_input=True, **options)
    model.set_class_embeddings(fixture.state()['text_embeddings'], names)
    weights = convert(fixture.state('decode_head.'), 'maskclip_plus')
    load_into(model.decode_head, strip_prefix(weights, 'decode_head.'), source=fixture.id)
    return model.train()


def labels_of(fixture: Fixture, zero_shot: bool, pseudo_labels: bool) -> Tensor:
    """Ground truth as the pipeline of the variant gives it."""
    labels = fixture.input('gt').long()
    if not pseudo_labels:
        return labels
    # ids from the first unseen class on, the ignored one included, are hidden
    hidden = (
        labels >= fixture.config['K'] - unseen_count(fixture)
        if zero_shot
        else torch.ones_like(labels, dtype=torch.bool)
    )
    return labels.masked_fill(hidden, UNLABELLED)


@consumes('dinoiser', 'maskclip_plus_losses')
def check_maskclip_plus(fixture: Fixture) -> None:
    for name in fixture.config['variants']:
        options = options_of(name)
        post, zero_shot = options.pop('post', None), options.pop('zero_shot', False)
        self_training = options.pop('self_training', False)
        count = fixture.config['K']
        unseen = tuple(range(count - unseen_count(fixture), count)) if zero_shot else None
        model = student(fixture, post, unseen=unseen, **options)
        model.self_training = self_training
        check_variant(fixture, name, model, labels_of(fixture, zero_shot, model.pseudo_labels))


def check_variant(fixture: Fixture, name: str, model: MaskCLIPPlus, labels: Tensor) -> None:
    """Compare logits, the labels used, and the losses of one variant."""
    levels, image = model.backbone(fixture.input('feat')), fixture.input('image')
    state = {k: v.clone() for k, v in model.decode_head.state_dict().items()}
    logits = model.decode_head([model.class_embeddings(), *levels])
    fixture.expect(f'logits_{name}', logits)
    model.decode_head.load_state_dict(state)  # the running statistics of batch norm have moved
    used = labels.squeeze(1)
    if model.pseudo_labels:
        used = model.pseudo_label(used, logits.detach(), image)
    reference = fixture.tensors[f'out.pseudo_{name}'].squeeze(1).long()
    assert (used == reference).float().mean() >= 0.999
    fixture.compared.add(f'out.pseudo_{name}')
    losses = model.losses(levels, image, data_samples(labels))
    fixture.expect(f'loss_ce_{name}', losses['loss_ce'])
    expected_accuracy(fixture, f'acc_seg_{name}', losses['acc_seg'], used)
    if fixture.has(f'out.loss_distill_{name}'):
        fixture.expect(f'loss_distill_{name}', losses['loss_distill'])
