"""Checks of FC-CLIP and MAFT+ as a whole: trunk, inference, training, and the layout of the released checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.towers import DenseReadOut
from denseclip.core.placement import Placement
from denseclip.models.backbones import CLIPMaskTrunk
from denseclip.models.functional.mask_inference import semantic_scores
from denseclip.models.segmentors import FCCLIP, MAFTPlus
from denseclip.weights import load_into, strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .maft_common import clip_parts, synonyms
from .maft_generator import recorded_draws
from .maft_parts import recorded_bank
from .registry import consumes

MASK_TASKS = ('semantic', 'panoptic')


@consumes('maft_pmp', 'clip_convnext')
def check_trunk(fixture: Fixture) -> None:
    parts = clip_parts(fixture.config)
    visual: Any = parts.clip.model.visual
    trunk = CLIPMaskTrunk(parts.towers(CLIPMaskTrunk.read_out_for(visual, DenseReadOut()))[0]).eval()
    state = convert(fixture.state('backbone.clip_model.'), 'maft')
    load_into(trunk, strip_prefix(state, 'backbone.'), source=fixture.id)
    images = fixture.input('image')
    with torch.no_grad():
        found = trunk(images)
        fixture.expect('stem', visual.trunk.stem(images))
        for level, stage in enumerate(found.stages, start=2):
            fixture.expect(f'res{level}', stage)
        fixture.expect('clip_vis_dense', found.last)
        fixture.expect('visual_prediction', trunk.tower.embed(fixture.input('pooled')))
        # The authors' code cuts the map into vectors as it lies in memory.
        fixture.expect('dense', trunk.embed_pixels(found, scrambled=True))


def build(fixture: Fixture, kind: type[FCCLIP], split: str = 'test', **settings: Any) -> Any:
    """A model of the sizes in a manifest, with its weights."""
    config, state = fixture.config, fixture.state()
    words = state.get('backbone.clip_model.token_embedding.weight')  # left out where the text rows are stored
    parts = clip_parts(config, 8 if words is None else words.shape[0])
    head = dict(
        dim=config['conv_dim'],
        num_queries=config['queries'],
        num_layers=config['dec_layers'],
        num_heads=config['nheads'],
        ffn_dim=config['dec_ffn'],
        pixel_decoder=dict(num_layers=config['enc_layers'], ffn_dim=config['enc_ffn']),
        criterion=dict(num_points=config.get('points', 16), **loss_weights(config)),
    )
    names = synonyms(config['names'][split])
    things = [names.names[i] for i in config['names']['things'].values() if i < len(names)] or 'none'
    model = kind(parts, head, vocabulary=names, things=things, **settings)
    teacher = kind is MAFTPlus and any(key.startswith('backbone_t.') for key in state)
    ours = convert(state, 'maft', teacher=teacher, panoptic=kind is MAFTPlus and model.transfer.variant == 'panoptic')
    if words is None:
        model.forget_pretrained()  # its text tower stays fresh: the rows come from the fixture
    load_into(
        model,
        ours,
        source=fixture.id,
        ignore=(*(() if teacher else ('teacher.',)), *(() if words is not None else ('text.',))),
    )
    counts = config.get('num_templates', fixture.manifest['num_templates'])
    assert [len(group) for group in names.groups] == fixture.manifest.get(f'{split}_num_templates', counts)
    return model.eval()


def loss_weights(config: dict[str, Any]) -> dict[str, float]:
    """Weights of the mask generator's losses, where a fixture names them."""
    names = {'loss_ce': 'class_weight', 'loss_mask': 'mask_weight', 'loss_dice': 'dice_weight'}
    given = config.get('weights', {})
    return {ours: given[theirs] for theirs, ours in names.items() if theirs in given}


def merges_first(config: dict[str, Any]) -> bool:
    """Whether class planes are resized; the authors resize masks where panoptic or instance results are asked for."""
    return not (config.get('panoptic_on', False) or config.get('instance_on', False))


def batch(fixture: Fixture, model: Any) -> tuple[Tensor, list[SegDataSample]]:
    """The pictures, normalised and padded together as MMEngine does before a training step, and their samples."""
    pictures = [picture for _, picture in fixture.inputs('image')]
    outputs = fixture.config.get('outputs') or [tuple(p.shape[1:]) for p in pictures]
    samples = []
    for picture, size in zip(pictures, outputs, strict=True):
        sample = SegDataSample()
        sample.set_metainfo(dict(img_shape=tuple(picture.shape[1:]), ori_shape=tuple(size)))
        samples.append(sample)
    bgr = [picture.flip(0) for picture in pictures]
    data = model.data_preprocessor({'inputs': bgr, 'data_samples': samples}, training=True)
    return data['inputs'], samples


def expect_predictions(fixture: Fixture, model: Any) -> None:
    """Everything between the pictures and the results."""
    images, samples = batch(fixture, model)
    model.set_task(MASK_TASKS if fixture.config['panoptic_on'] else 'semantic')
    features = model.extract_feat(images)
    proposals = model.propose(features, samples)
    found = model.classify(features, proposals)
    name = 'in_vocab_logits' if fixture.has('out.in_vocab_logits') else 'pred_logits'
    fixture.expect(name, model.trained_logits(proposals))
    fixture.expect('out_vocab_logits', model.clip_logits(features, proposals.mask_logits))
    fixture.expect('pred_masks', proposals.mask_logits)
    both = torch.cat([found.class_probs, found.no_object[..., None]], dim=-1)
    merge_first = merges_first(fixture.config)
    for n, sample in enumerate(samples):
        fixture.expect(f'mask_cls{n}', (both[n] + 1e-8).log())
        geometry = Placement.of(sample.metainfo, tuple(images.shape[2:]))
        masks, classes = proposals.mask_logits[n], found.class_probs[n]
        if merge_first:
            scores = geometry.finish(semantic_scores(classes, geometry.enlarge(masks)))
        else:
            scores = semantic_scores(classes, geometry.apply(masks))
        fixture.expect(f'sem_seg{n}', scores)
    for n, sample in enumerate(model.predict(images, samples)):
        labels = fixture.tensors[f'out.sem_seg{n}'].argmax(0)
        assert (sample.pred_sem_seg.data[0] != labels).float().mean() < 1e-3
        if fixture.config['panoptic_on']:
            expect_panoptic(fixture, n, sample.pred_panoptic_seg)


def expect_panoptic(fixture: Fixture, index: int, found: Any) -> None:
    """Segment ids and their descriptions."""
    fixture.expect(f'panoptic{index}', found.data[0])
    rows = [[s['id'], int(s['isthing']), s['category_id']] for s in found.segments_info]
    fixture.expect(f'segments_info{index}', torch.tensor(rows, dtype=torch.long).reshape(-1, 3))


@consumes('maft_pmp', 'fcclip_e2e')
def check_fcclip(fixture: Fixture) -> None:
    config = fixture.config
    model = build(
        fixture,
        FCCLIP,
        train_vocabulary=synonyms(config['names']['train']),
        alpha=config['alpha'],
        beta=config['beta'],
        ensemble_on_valid_mask=config['ensemble_on_valid_mask'],
        test_cfg=thresholds(config),
    )
    model.set_class_embeddings(fixture.input('text_classifier'), model.vocabulary)
    with torch.no_grad():
        expect_predictions(fixture, model)
        if config['instance_on']:
            expect_instances(fixture, model)


def expect_instances(fixture: Fixture, model: Any) -> None:
    """Instances, which have no order, by falling score."""
    images, samples = batch(fixture, model)
    model.set_task('instance')
    for n, sample in enumerate(model.predict(images, samples)):
        order = sample.pred_instances.scores.argsort(descending=True)
        fixture.expect(f'instance_scores_sorted{n}', sample.pred_instances.scores[order])
        fixture.expect(f'instance_classes_sorted{n}', sample.pred_instances.labels[order])


def thresholds(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of panoptic and instance inference."""
    return dict(
        score_threshold=config['object_mask_threshold'],
        overlap_threshold=config['overlap_threshold'],
        topk=config.get('topk', 100),
        merge_first=merges_first(config),
    )


def maft(fixture: Fixture, variant: str, split: str = 'test', **settings: Any) -> MAFTPlus:
    """A MAFT+ of the sizes in a manifest."""
    transfer = dict(num_heads=fixture.config['cdt_heads'], variant=variant)
    settings = dict(transfer=transfer, scrambled_pixels=True, test_cfg=thresholds(fixture.config), **settings)
    return build(fixture, MAFTPlus, split, **settings)


@consumes('maft_pmp', 'e2e_semantic', 'e2e_panoptic')
def check_maft(fixture: Fixture) -> None:
    config = fixture.config
    model = maft(fixture, 'panoptic' if config['panoptic_on'] else 'semantic')
    with torch.no_grad():
        if fixture.has('in.tokens_test'):
            clip = Fixture(fixture.method, fixture.name, fixture.manifest, fixture.tensor_file)
            clip.tensors = strip_prefix({f'sd.{k}': v for k, v in fixture.state().items()}, 'sd.backbone.clip_model.')
            clip.tensors = {f'sd.{k}': v for k, v in clip.tensors.items()}
            bank = recorded_bank(clip, config, 'vild', test=fixture.input('tokens_test'))
            rows = bank.encode(model.vocabulary).embeddings
            fixture.expect('text_classifier', rows)
        else:
            rows = fixture.input('text_classifier')
        model.set_class_embeddings(rows, model.vocabulary)
        images, _ = batch(fixture, model)
        features = model.extract_feat(images)
        fixture.expect('text_cdt', model.transferred(model.text_rows()[0], features))
        expect_predictions(fixture, model)


def training_samples(fixture: Fixture, samples: Sequence[SegDataSample]) -> None:
    """Ground truth into samples, as masks that are smaller than the padded batch."""
    for n, sample in enumerate(samples):
        sample.gt_instances = InstanceData(labels=fixture.input(f'labels{n}'), masks=fixture.input(f'masks{n}'))


@consumes('maft_pmp', 'e2e_train')
def check_training(fixture: Fixture) -> None:
    config = fixture.config
    weights = config['weights']
    model = maft(
        fixture,
        'semantic',
        'train',
        mask_aware_weight=weights['ranking_loss'],
        compensation_weight=config['rc_weights'],
    ).train()
    model.set_class_embeddings(fixture.input('text_classifier'), model.vocabulary)
    images, samples = batch(fixture, model)
    training_samples(fixture, samples)
    draws = [fixture.tensors[key] for key in sorted(fixture.tensors) if key.startswith('in.rand.')]
    with recorded_draws(draws):
        losses = model.loss(images, samples)
    ours = {'ranking_loss': 'loss_mask_aware', 'rc_loss': 'loss_compensation'}
    for match in fixture.outputs(r'loss\.(\w+)'):
        fixture.expect(match.group(), losses[ours.get(match[1], match[1])])
    assert len(losses) == len(list(fixture.outputs(r'loss\.(\w+)')))
    torch.stack(list(losses.values())).sum().backward()
    expect_gradients(fixture, model)
    with torch.no_grad():
        features = model.extract_feat(images)
        fixture.expect('student_feature', features.last)
        fixture.expect('teacher_feature', model.teacher(images).stages[-1])
        proposals = model.propose(features)
        fixture.expect('out_vocab_logits', model.clip_logits(features, proposals.mask_logits))


def expect_gradients(fixture: Fixture, model: MAFTPlus) -> None:
    """Norms of all gradients and some of them in full; a frozen parameter has none."""
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    theirs = convert({k: torch.zeros(()) if v is None else v for k, v in gradients.items()}, 'maft', inverse=True)
    names = fixture.manifest.get('grad_norm_names') or fixture.config['grad_norm_names']
    assert set(theirs) == set(names)
    for match in fixture.outputs(r'grad_norms?'):
        fixture.expect(match.group(), torch.stack([theirs[name].norm() for name in names]))
    for match in fixture.outputs(r'grad\.(.+)'):
        fixture.expect(match.group(), theirs[match[1]])
