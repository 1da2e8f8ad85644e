"""Checks of DenseCLIP's detectors: backbone, auxiliary loss, whole models with boxes and masks, checkpoint layouts."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from denseclip.models.backbones import CLIPResNet
from denseclip.models.detectors import DenseCLIPMaskRCNN, DenseCLIPRetinaNet
from denseclip.models.losses import BoxPixelTextLoss
from denseclip.weights.convert import convert, denseclip

from .authors_config import context_decoder
from .denseclip_models import check_tokens, load_model, switch_off_randomness
from .denseclip_modules import AUTHORS_POOL_HEADS, load_part, text_encoder
from .denseclip_weights import CONFIGS, expect_layout
from .fixtures import Fixture, compare
from .registry import consumes

MODELS = {'DenseCLIP_RetinaNet': DenseCLIPRetinaNet, 'DenseCLIP_MaskRCNN': DenseCLIPMaskRCNN}
HEADS = ('bbox_head', 'rpn_head', 'roi_head')
MASK_PIXELS = 'allow <=0.5% of pixels to differ'
"""What the manifests allow for pasted masks; they say so in the tensor's description."""


def detection_backbone(config: dict[str, Any]) -> CLIPResNet:
    """The authors' detection backbone: positions are cropped, not interpolated."""
    return CLIPResNet(
        layers=config['layers'],
        width=config['width'],
        embed_dim=config['output_dim'],
        input_resolution=config['input_resolution'],
        heads=AUTHORS_POOL_HEADS,
        pos_resize='crop',
    )


def build_detector(fixture: Fixture) -> nn.Module:
    """Our detector with the sizes of an authors' config, with their weights."""
    config, manifest = fixture.config, fixture.manifest
    text = config['text_encoder']
    model = MODELS[config['type']](
        backbone=detection_backbone(config['backbone']),
        text_encoder=text_encoder(text),
        vocabulary=config['class_names'],
        neck=config['neck'],
        context_decoder=context_decoder(config['context_decoder']),
        pixel_text_loss=BoxPixelTextLoss() if config['seg_loss'] else None,
        num_contexts=text['context_length'] - config['context_length'],
        context_length=config['context_length'],
        tau=config['tau'],
        train_cfg=manifest['train_cfg'],
        test_cfg=manifest['test_cfg'],
        **{name: config[name] for name in HEADS if name in config},
    )
    assert denseclip.is_official(fixture.state())
    load_model(model, fixture)
    check_tokens(fixture, model)
    return model.eval()


def detection_samples(fixture: Fixture) -> list[DetDataSample]:
    """Data samples with the fixture's boxes, labels and, where it has them, masks."""
    height, width = fixture.input('img').shape[-2:]
    meta = dict(img_shape=(height, width), pad_shape=(height, width), batch_input_shape=(height, width))
    samples = []
    for index, boxes in fixture.inputs('gt_bboxes'):
        truth = InstanceData(bboxes=boxes, labels=fixture.input(f'gt_labels{index}'))
        if fixture.has(f'in.gt_masks{index}'):
            truth.masks = BitmapMasks(fixture.input(f'gt_masks{index}').numpy(), height, width)
        sample = DetDataSample(gt_instances=truth, ignored_instances=InstanceData(bboxes=boxes[:0]))
        sample.set_metainfo(dict(**meta, ori_shape=(height, width), scale_factor=(1.0, 1.0), img_id=index))
        samples.append(sample)
    return samples


@consumes('denseclip', 'det_clip_resnet_attn')
@torch.no_grad()
def check_detection_backbone(fixture: Fixture) -> None:
    backbone = detection_backbone(fixture.config).train(fixture.manifest['mode'] == 'train')
    load_part(backbone, fixture, 'backbone.', 'backbone.')
    *stages, (pooled, dense) = backbone(fixture.input('img'))
    assert len(stages) + 1 == fixture.manifest['number_of_outputs']['n_default']
    for index, stage in enumerate(stages, start=1):
        fixture.expect(f'stage{index}', stage)
    fixture.expect('global', pooled)
    fixture.expect('map', dense)


@consumes('denseclip', 'det_seg_loss')
def check_box_loss(fixture: Fixture) -> None:
    loss, size = BoxPixelTextLoss(), fixture.config['img_size']
    scores = fixture.input('score_map').requires_grad_()
    boxes = [b.clone() for _, b in fixture.inputs('gt_bboxes')]
    labels = [fixture.input(f'gt_labels{index}') for index in range(len(boxes))]
    target = loss.target(boxes, labels, fixture.config['num_classes'], size)
    fixture.expect('seg_target', target.to(torch.uint8))
    fixture.expect('seg_mask', target.any(1, keepdim=True).to(torch.uint8))
    value = loss(scores, boxes, labels, size)
    value.backward()
    fixture.expect('loss', value)
    fixture.expect('grad.score_map', scores.grad)
    assert all(torch.equal(b, given) for b, (_, given) in zip(boxes, fixture.inputs('gt_bboxes'), strict=True))
    # The authors' loss is NaN here; ours is zero.
    assert fixture.manifest['loss_when_no_box_in_the_whole_batch'] == 'nan'
    assert loss(scores, [b[:0] for b in boxes], [k[:0] for k in labels], size) == 0


@consumes('denseclip', 'det_retinanet', 'det_mask_rcnn')
def check_detector(fixture: Fixture) -> None:
    model, samples = build_detector(fixture), detection_samples(fixture)
    image = fixture.input('img')
    with torch.no_grad():
        pyramid = check_pyramid(fixture, model, image)
        if isinstance(model, DenseCLIPRetinaNet):
            expect_levels(fixture, model.bbox_head(pyramid), ('cls_score', 'bbox_pred'))
            boxes = [s.gt_instances.bboxes for s in samples]
            labels = [s.gt_instances.labels for s in samples]
            target = model.pixel_text_loss.target(boxes, labels, len(model.vocabulary), image.shape[-2:])
            fixture.expect('seg_target', target.to(torch.uint8))
            fixture.expect('seg_mask', target.any(1, keepdim=True).to(torch.uint8))
        else:
            check_regions(fixture, model, pyramid, samples)
        check_detections(fixture, model, image, samples)
        expect_detection_losses(fixture, 'eval_loss', model.loss(image, samples))
    switch_off_randomness(model.train())
    losses = model.loss(image, samples)
    total = expect_detection_losses(fixture, 'train_loss', losses)
    total.backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    gradients = convert(gradients, 'denseclip', inverse=True)
    for match in fixture.outputs(r'train_grad\.(.+)'):
        fixture.expect(match.group(), gradients[match.group(1)])


def check_pyramid(fixture: Fixture, model: nn.Module, image: Tensor) -> tuple[Tensor, ...]:
    match = model.match(image)
    fixture.expect('text_embeddings', match.text)
    scores = match.score_map / model.tau
    fixture.expect('score_map3', scores)
    expected = fixture.tensors['out.score_map0']
    stage1 = F.interpolate(scores, size=match.levels[0].shape[-2:], mode='bilinear', align_corners=False)
    fixture.expect('score_map0', stage1[: expected.shape[0]])
    pyramid = model.extract_feat(image)
    for found in fixture.outputs(r'fpn(\d+)'):
        fixture.expect(found.group(), pyramid[int(found.group(1))])
    return pyramid


def expect_levels(fixture: Fixture, outputs: Any, names: tuple[str, str]) -> None:
    """Compare a dense head's two kinds of maps on the levels that the fixture keeps, first pictures only."""
    for name, maps in zip(names, outputs, strict=True):
        for found in fixture.outputs(rf'{name}(\d+)'):
            images = fixture.tensors[f'out.{found.group()}'].shape[0]
            fixture.expect(found.group(), maps[int(found.group(1))][:images])


def check_regions(fixture: Fixture, model: nn.Module, pyramid: tuple[Tensor, ...], samples: list) -> None:
    """Region proposals of the first picture, and what the box head says of them."""
    expect_levels(fixture, model.rpn_head(pyramid), ('rpn_cls', 'rpn_bbox'))
    found = model.rpn_head.predict(pyramid, samples, rescale=False)[0]
    fixture.expect('proposals', torch.cat([found.bboxes, found.scores[:, None]], dim=1))
    results = model.roi_head._bbox_forward(pyramid, bbox2roi([found.bboxes]))
    fixture.expect('roi_cls', results['cls_score'])
    fixture.expect('roi_bbox', results['bbox_pred'])


def check_detections(fixture: Fixture, model: nn.Module, image: Tensor, samples: list) -> None:
    """Boxes, classes and masks of the first picture, in the order of the old framework: by class, then by score."""
    found = model.predict(image[:1], samples[:1])[0].pred_instances
    found = found[torch.sort(found.labels, stable=True).indices]
    fixture.expect('det.bboxes', torch.cat([found.bboxes, found.scores[:, None]], dim=1))
    assert torch.equal(found.labels, fixture.tensors['out.det.labels'])
    fixture.expect('det.labels', found.labels)
    if 'masks' not in found:
        return
    logits = model.roi_head._mask_forward(model.extract_feat(image[:1]), bbox2roi([found.bboxes]))['mask_preds']
    fixture.expect('det.mask_logits', logits[torch.arange(len(found)), found.labels])
    expected = fixture.tensors['out.det.masks']
    problem = compare(found.masks.to(expected.dtype), expected, MASK_PIXELS)
    assert problem is None, f'{fixture.id} out.det.masks: {problem}'
    fixture.compared.add('out.det.masks')


def expect_detection_losses(fixture: Fixture, stem: str, losses: dict[str, Any]) -> Tensor:
    """Compare all losses of a pass; returns their sum."""
    names = [m.group(1) for m in fixture.outputs(rf'{stem}\.(.+)')]
    assert set(names) == set(losses), f'{fixture.id}: losses {sorted(losses)}, expected {sorted(names)}'
    values = {k: torch.stack([*v]) if isinstance(v, (list, tuple)) else v for k, v in losses.items()}
    for name, value in values.items():
        fixture.expect(f'{stem}.{name}', value)
    return torch.stack([value.sum() for name, value in values.items() if 'loss' in name]).sum()


@consumes('denseclip', 'full_size_layouts/retinanet', 'full_size_layouts/mask_rcnn')
def check_detection_layout(fixture: Fixture) -> None:
    name = fixture.name.split('/')[-1]
    match = re.fullmatch(r'(retinanet|mask_rcnn)_(denseclip|clip)_r(\d+)_fpn_1x_coco', name)
    assert match, f'no config of ours is known for {name}'
    detector, method, depth = match.group(1).replace('_', '-'), match.group(2), match.group(3)
    stem = f'{detector}_clip-r{depth}_fpn_1x_coco-1333x800'
    config = Config.fromfile(CONFIGS / f'{"denseclip_" if method == "denseclip" else ""}{stem}.py')
    expect_layout(fixture, config)
