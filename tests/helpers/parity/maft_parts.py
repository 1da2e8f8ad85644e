"""Checks of the parts of FC-CLIP and MAFT+ that stand alone: text rows, trunk, transfer, losses, ensemble."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.text import CLIPTextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.towers import masked_attention_pool
from denseclip.models.functional.maft_losses import (
    compensation_loss,
    mask_aware_loss,
    mask_quality,
    pyramid_sums,
    soft_mask_iou,
)
from denseclip.models.functional.vocabulary_ensemble import geometric_ensemble, seen_classes
from denseclip.models.heads.cdt import ContentDependentTransfer
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .maft_common import synonyms, text_state
from .registry import consumes


class RecordedTokens:
    """A tokenizer that knows the sentences of a fixture only, with the ids that it stores."""

    pad_id = 0
    identity = 'recorded'

    def __init__(self, sentences: list[str], tokens: Tensor) -> None:
        rows = zip(sentences, tokens.tolist(), strict=True)
        self.ids = {text: row[: max(range(len(row)), key=row.__getitem__) + 1] for text, row in rows}

    def __call__(self, text: str) -> list[int]:
        return self.ids[text]

    def shorten(self, ids: list[int], length: int) -> list[int]:
        raise AssertionError('no sentence of a fixture is too long')


def recorded_bank(fixture: Fixture, config: dict[str, Any], templates: Any, **tokens: Tensor) -> TextBank:
    """A text bank over the fixture's text tower and the sentences of its vocabularies."""
    bank = TextBank(CLIPTextTower.create(layers=1, width=64, heads=1, embed_dim=8, vocab_size=8), templates, 'max')
    ids: dict[str, list[int]] = {}
    for split, rows in tokens.items():
        names = synonyms(config['names'][split]).prompts
        ids |= RecordedTokens([t.replace('{}', n) for n in names for t in bank.templates], rows).ids
    tokenizer = RecordedTokens([], torch.zeros(0, 1))
    tokenizer.ids = ids
    state = text_state(fixture)
    bank.tower = CLIPTextTower.create(
        context_length=state['positional_embedding'].shape[0],
        vocab_size=state['token_embedding.weight'].shape[0],
        width=config['width'],
        heads=config['heads'],
        layers=config['layers'],
        embed_dim=state['text_projection'].shape[1],
        quick_gelu=False,
        tokenizer=tokenizer,
    ).eval()
    load_into(bank.tower, state, source=fixture.id)
    return bank


@consumes('maft_pmp', 'text_classifier')
def check_text_classifier(fixture: Fixture) -> None:
    config = fixture.config
    splits = {split: fixture.input(f'tokens_{split}') for split in ('test', 'train')}
    bank = recorded_bank(fixture, config, config['templates'], **splits)
    assert bank.templates == TextBank(bank.tower, 'vild').templates
    with torch.no_grad():
        fixture.expect('raw_test', bank.tower.encode_tokens(splits['test'])[0])
        for split in splits:
            text = bank.encode(synonyms(config['names'][split]))
            fixture.expect(split, text.embeddings)
            assert text.class_index.bincount().tolist() == config[f'num_templates_{split}']
    test, train = (synonyms(config['names'][split]) for split in ('test', 'train'))
    fixture.expect('category_overlapping_mask', seen_classes(test.groups, train.prompts).long())


def check_transfer(fixture: Fixture, variant: str) -> None:
    """Result and gradients of the content-dependent transfer."""
    config = fixture.config
    transfer = ContentDependentTransfer(config['d_model'], config['nhead'], variant)
    state = convert(fixture.state('cdt.'), 'maft', panoptic=variant == 'panoptic')
    load_into(transfer, strip_prefix(state, 'transfer.'), source=fixture.id)
    pixels = fixture.input('img_feat').clone().requires_grad_()
    text = fixture.input('text').clone().requires_grad_()
    out = transfer(text, pixels)
    fixture.expect('text', out)
    (out * fixture.input('grad_out')).sum().backward()
    assert pixels.grad is not None and text.grad is not None and transfer.linear.weight.grad is not None
    fixture.expect('grad.img_feat', pixels.grad)
    fixture.expect('grad.text', text.grad)
    fixture.expect('grad.MLP.weight', transfer.linear.weight.grad)


@consumes('maft_pmp', 'cdt_semantic')
def check_semantic_transfer(fixture: Fixture) -> None:
    check_transfer(fixture, 'semantic')


@consumes('maft_pmp', 'cdt_panoptic')
def check_panoptic_transfer(fixture: Fixture) -> None:
    check_transfer(fixture, 'panoptic')


@consumes('maft_pmp', 'rc_loss')
def check_compensation(fixture: Fixture) -> None:
    config = fixture.config
    assert config['beta'] == 1.0 and config['difference_function'] == 'sl1' and config['prepro'] == 'relu'
    scales = config['spp_scales']
    for index, features in fixture.inputs('student'):
        student = features.clone().requires_grad_()
        loss = compensation_loss(student, fixture.input(f'teacher{index}'), scales)
        loss.backward()
        assert student.grad is not None
        fixture.expect(f'loss{index}', loss)
        fixture.expect(f'grad_student{index}', student.grad)
        fixture.expect(f'pod_student{index}', pyramid_sums(features.relu(), scales))


@consumes('maft_pmp', 'mask_aware_loss')
def check_mask_aware(fixture: Fixture) -> None:
    config = fixture.config
    assert config['smooth_l1_beta'] == 1.0
    labels = [x for _, x in fixture.inputs('labels')]
    masks = [x for _, x in fixture.inputs('masks')]
    assert [len(x) for x in labels] == config['instances_per_image']
    logits = fixture.input('logits').clone().requires_grad_()
    mask_logits = fixture.input('mask_logits')
    iou = torch.cat([soft_mask_iou(one[None], target[None])[0] for one, target in zip(mask_logits, masks, strict=True)])
    fixture.expect('iou', iou)
    fixture.expect('target', mask_quality(iou))
    loss = mask_aware_loss(logits[..., :-1], mask_logits, labels, masks)
    loss.backward()
    assert logits.grad is not None
    fixture.expect('loss', loss)
    fixture.expect('grad_logits', logits.grad)


@consumes('maft_pmp', 'fcclip_ensemble')
def check_ensemble(fixture: Fixture) -> None:
    config = fixture.config
    inside, outside = fixture.input('in_vocab_logits'), fixture.input('out_vocab_logits')
    masks, seen = fixture.input('mask_logits'), fixture.input('overlap').bool()
    assert seen.long().tolist() == config['category_overlapping_mask']
    for variant in fixture.outputs(r'mask_cls_(\w+)'):
        meaning = fixture.manifest['tensors'][f'out.{variant.group()}']['meaning']
        words = dict(word.split('=') for word in meaning.split() if '=' in word)
        valid = None
        if words['valid'] == 'True':
            height, width = (side // 8 for side in masks.shape[-2:])
            valid = (F.interpolate(masks, size=(height, width), mode='bilinear') > 0).flatten(2).any(-1)
        found = geometric_ensemble(inside, outside, seen, float(words['alpha']), float(words['beta']), valid)
        both = torch.cat([found.class_probs, found.no_object[..., None]], dim=-1)
        fixture.expect(variant.group(), (both + 1e-8).log()[0])


@consumes('maft_pmp', 'resnet_masked_attnpool')
def check_masked_attention_pool(fixture: Fixture) -> None:
    from open_clip.modified_resnet import AttentionPool2d

    config = fixture.config
    pool = AttentionPool2d(config['pos_grid'], config['embed'], config['heads'], config['output_dim'])
    load_into(pool, strip_prefix(fixture.state(), 'attnpool.'), source=fixture.id)
    masks = fixture.input('mask') > 0
    result = masked_attention_pool(pool, fixture.input('x'), masks)
    empty = ~masks.flatten(2).any(-1)
    reference = fixture.tensors['out.y']
    assert torch.isfinite(result).all() and torch.equal(reference.isnan().any(-1), empty)
    fixture.tensors['out.y'] = torch.where(empty[..., None], result.detach(), reference)
    fixture.expect('y', result)
