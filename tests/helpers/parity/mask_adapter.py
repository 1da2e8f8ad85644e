"""Checks of Mask-Adapter on FC-CLIP and MAFT+: maps, classification, both trainings."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.segmentors import FCCLIP, MAFTPlus
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .maft_common import synonyms
from .maft_models import batch, build, expect_predictions, thresholds
from .registry import consumes

LOSSES = {'loss_ce': 'loss_ce', 'loss_cosine': 'loss_consistency'}


def adapted(fixture: Fixture, split: str = 'test', **training: Any) -> Any:
    """A model with an adapter of the sizes in a manifest."""
    config = fixture.config
    shared = dict(
        # Without one, training takes the present words.
        train_vocabulary=synonyms(config['names']['train']) if split == 'test' else None,
        alpha=config['alpha'],
        beta=config['beta'],
        test_cfg=thresholds(config),
        adapter=dict(
            channels=config['adapter_channels'],
            mask_channels=config['mask_channels'],
            num_maps=config['maps'],
            mask_threshold=config['mask_threshold'],
        ),
    )
    if training:
        shared['adapter_training'] = dict(
            iou_threshold=config['iou_threshold'],
            match_threshold=config['match_threshold'],
            class_weight=config['class_weight'],
            consistency_weight=config['cos_weight'],
            detach_true=config['detach_target'],
            whole_where_unmatched=config['mask_threshold'] < 0.5,
            **training,
        )
    if config['cdt_heads'] is None:
        return build(fixture, FCCLIP, split, **shared)
    transfer = dict(num_heads=config['cdt_heads'])
    return build(fixture, MAFTPlus, split, transfer=transfer, scrambled_pixels=True, ensemble=True, **shared)


@consumes('mask_adapter', 'fcclip', 'maft')
def check_adapter(fixture: Fixture) -> None:
    model = adapted(fixture)
    model.set_class_embeddings(fixture.input('text_classifier'), model.vocabulary)
    with torch.no_grad():
        expect_predictions(fixture, model)
        images, samples = batch(fixture, model)
        features = model.extract_feat(images)
        masks = model.propose(features, samples).mask_logits
        adapter = model.adapter
        fixture.expect('maps', adapter(model.clip_pixels(features), adapter.binary(masks)))
        fixture.expect('embeddings', model.embed_masks(features, masks))
        adapter.budget = 1  # one mask at a time
        fixture.expect('embeddings', model.embed_masks(features, masks))
    is_fcclip = fixture.config['cdt_heads'] is None
    check_phase(fixture, 'warmup', adapted(fixture, 'train', phase='ground_truth', train_void=True))
    mixed = adapted(
        fixture,
        'train',
        phase='mixed',
        num_ground_truth=fixture.config['num_gt_masks'],
        num_predicted=fixture.config['num_pred_masks'],
        train_void=is_fcclip,
    )
    check_phase(fixture, 'mixed', mixed)


def check_phase(fixture: Fixture, phase: str, model: Any) -> None:
    """Losses, all gradients and a step of AdamW of one phase."""
    model.train()
    model.set_class_embeddings(fixture.input('train_rows'), model.vocabulary)
    losses = model.loss(*training_batch(fixture, model))
    for match in fixture.outputs(rf'{phase}\.(loss_\w+)'):
        fixture.expect(match.group(), losses[LOSSES[match[1]]])
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for match in fixture.outputs(rf'{phase}\.cosine_grad\.(.+)'):
        (name,) = convert({match[1]: torch.zeros(())}, 'maft')
        (gradient,) = torch.autograd.grad(losses['loss_consistency'], [trained[name]], retain_graph=True)
        fixture.expect(match.group(), gradient)
    torch.stack(list(losses.values())).sum().backward()
    theirs = convert({name: p.grad for name, p in trained.items()}, 'maft', inverse=True)
    expected = {match[1] for match in fixture.outputs(rf'{phase}\.grad\.(.+)')}
    assert set(theirs) == expected
    for name in expected:
        fixture.expect(f'{phase}.grad.{name}', theirs[name])
    torch.optim.AdamW(list(trained.values()), lr=1e-3, weight_decay=0.05).step()
    after = convert(dict(trained), 'maft', inverse=True)
    for match in fixture.outputs(rf'{phase}\.after\.(.+)'):
        fixture.expect(match.group(), after[match[1]])


def training_batch(fixture: Fixture, model: Any) -> tuple[Tensor, list[SegDataSample]]:
    """Pictures of several sizes with their segments."""
    pictures = [picture for _, picture in fixture.inputs('train_image')]
    samples = []
    for n, picture in enumerate(pictures):
        segments = InstanceData(labels=fixture.input(f'labels{n}'), masks=fixture.input(f'masks{n}').bool())
        sample = SegDataSample(gt_instances=segments)
        sample.set_metainfo(dict(img_shape=tuple(picture.shape[1:]), ori_shape=tuple(picture.shape[1:])))
        samples.append(sample)
    data = model.data_preprocessor({'inputs': [p.flip(0) for p in pictures], 'data_samples': samples}, training=True)
    return data['inputs'], samples
