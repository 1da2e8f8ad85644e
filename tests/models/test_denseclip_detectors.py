"""DenseCLIP's detectors: every awkward ground truth, backbones, vocabulary, building. Numbers are in tests/golden."""

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from mmengine.registry import DefaultScope
from tiny_detectors import THINGS, all_losses, detection_batch, detector_config, tiny_detector

KINDS = ('retinanet', 'mask-rcnn')
BOX, OTHER = (8, 8, 40, 48), (30, 4, 90, 60)
CORNERS = torch.arange(1000, dtype=torch.float).view(-1, 1)
GROUND_TRUTH = {
    'plain': dict(boxes=[[BOX, OTHER], [OTHER]], labels=[[0, 2], [3]]),
    'one picture empty': dict(boxes=[[BOX], []]),
    'whole batch empty': dict(boxes=[[], []]),
    'zero size': dict(boxes=[[(20, 20, 20, 20), (5, 9, 5, 40)], [(7, 7, 60, 7)]]),
    'crowd': dict(boxes=[[BOX], []], crowd=[[OTHER], [BOX]]),
    'crowd alone': dict(boxes=[[], []], crowd=[[OTHER], [BOX]]),
    'one class of four': dict(boxes=[[BOX], [OTHER]], labels=[[1], [1]]),
    'a thousand boxes': dict(
        boxes=[[(i % 80, i % 50, i % 80 + 4 + i % 11, i % 50 + 4 + i % 7) for i in range(1000)], [BOX]],
        labels=[[i % 4 for i in range(1000)], [0]],
    ),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope='module')
def models():
    """One model of each kind, for tests that do not change it."""
    return {kind: tiny_detector(kind).train() for kind in KINDS}


@pytest.mark.filterwarnings('ignore:.*have no width or no height')
@pytest.mark.parametrize('truth', GROUND_TRUTH)
@pytest.mark.parametrize('kind', KINDS)
def test_losses_and_gradients_are_finite(models, kind, truth):
    model = models[kind]
    model.zero_grad()
    losses = all_losses(model.loss(*detection_batch(**GROUND_TRUTH[truth])))
    assert all(torch.isfinite(value).all() for value in losses.values()), losses
    sum(value.sum() for value in losses.values()).backward()
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    assert not bad
    auxiliary = losses[model.pixel_text_loss_name]
    assert (auxiliary == 0) == (truth in ('whole batch empty', 'zero size', 'crowd alone'))


@pytest.mark.parametrize('kind', KINDS)
def test_bf16_on_the_cpu_is_finite(models, kind):
    model = models[kind]
    model.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = all_losses(model.loss(*detection_batch(**GROUND_TRUTH['plain'])))
    sum(value.float().sum() for value in losses.values()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients) and any(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize(
    ('kind', 'backbone', 'options'),
    [
        ('retinanet', 'vit', {}),
        ('retinanet', 'any', {}),
        ('retinanet', 'resnet', dict(prompting='pre')),
        ('mask-rcnn', 'resnet', {}),
        ('mask-rcnn', 'any', dict(prompting='none', num_contexts=0)),
    ],
)
def test_every_learnable_parameter_gets_a_gradient(kind, backbone, options):
    model = tiny_detector(kind, backbone, **options).train()
    losses = all_losses(model.loss(*detection_batch(**GROUND_TRUTH['plain'])))
    sum(value.sum() for value in losses.values()).backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_predictions_have_boxes_classes_and_masks(models, kind):
    model = models[kind].eval()
    inputs, samples = detection_batch(boxes=[[], []])
    found = model.predict(inputs, samples)[0].pred_instances
    model.train()
    assert len(found) > 0 and found.bboxes.shape == (len(found), 4)
    assert found.labels.max() < len(THINGS) and (found.scores[:-1] >= found.scores[1:]).all()
    assert ('masks' in found) is (kind == 'mask-rcnn')
    if 'masks' in found:
        assert found.masks.shape == (len(found), 64, 96)


def test_boxes_of_zero_size_change_nothing_but_are_told(models):
    model = models['mask-rcnn']
    model.eval()
    inputs, clean = detection_batch(boxes=[[BOX], [OTHER]], labels=[[1], [2]])
    _, dirty = detection_batch(boxes=[[(3, 3, 3, 9), BOX], [OTHER, (50, 9, 40, 20)]], labels=[[0, 1], [2, 3]])
    with torch.no_grad():
        torch.manual_seed(2)
        expected = all_losses(model.loss(inputs, clean))
        torch.manual_seed(2)
        with pytest.warns(UserWarning, match='2 ground-truth boxes have no width or no height'):
            found = all_losses(model.loss(inputs, dirty))
    model.train()
    assert len(dirty[0].gt_instances) == 2  # the caller's data stay as they are
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_crowd_regions_paint_nothing(models):
    model = models['retinanet']
    torch.manual_seed(1)
    inputs, plain = detection_batch(boxes=[[BOX]])
    _, crowded = detection_batch(boxes=[[BOX]], crowd=[[OTHER]])
    model.eval()
    with torch.no_grad():
        values = [model.loss(inputs, samples)['loss_seg'] for samples in (plain, crowded)]
    model.train()
    assert torch.equal(*values)


def test_scores_over_tau_join_the_level(models):
    model = models['retinanet'].eval()
    with torch.no_grad():
        match = model.match(torch.randn(1, 3, 64, 96))
    model.train()
    torch.testing.assert_close(match.levels[3][:, -len(THINGS) :], match.score_map / model.tau)


def test_without_the_auxiliary_loss():
    losses = tiny_detector(pixel_text_loss=None).loss(*detection_batch(**GROUND_TRUTH['plain']))
    assert set(losses) == {'loss_cls', 'loss_bbox'}


# --- building and vocabulary --------------------------------------------------------------------------------------


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet'])
def test_parts_are_mmdets_in_every_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        model = tiny_detector()
    assert type(model.neck).__module__.startswith('mmdet.')


def test_builds_from_objects(models):
    first = models['retinanet']
    config = {k: v for k, v in detector_config().items() if k != 'type'}
    parts = {name: getattr(first, name) for name in ('backbone', 'neck', 'bbox_head', 'text_encoder')}
    model = type(first)(**{**config, **parts})
    assert all(getattr(model, name) is part for name, part in parts.items())


def test_other_names_of_the_same_number(models):
    model = models['mask-rcnn']
    model.set_vocabulary(['dog', 'tree', 'sky', 'car'])
    assert model.dataset_meta['classes'] == ('dog', 'tree', 'sky', 'car')
    with pytest.raises(ValueError, match='DenseCLIPMaskRCNN is built for 4 classes, the vocabulary has 2'):
        model.set_vocabulary('dog; tree')
    model.set_vocabulary(THINGS)


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (dict(bbox_head={**detector_config()['bbox_head'], 'num_classes': 3}), 'RetinaHead.num_classes is 3.*has 4'),
        (dict(neck=dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=8, num_outs=4)), r'give \[32.*260\]'),
        (dict(score_fusion='sum'), "'concat', 'expectation', 'none'"),
    ],
)
def test_mistakes_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        tiny_detector(**overrides)


# --- devices ------------------------------------------------------------------------------------------------------


def dense_outputs(model, inputs):
    """Everything before boxes are matched or selected, which needs real values."""
    pyramid = model.extract_feat(inputs)
    head = model.bbox_head if hasattr(model, 'bbox_head') else model.rpn_head
    return [level for kind in head(pyramid) for level in kind]


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'backbone'), [('retinanet', 'vit'), ('mask-rcnn', 'resnet')])
def test_fake_cuda_and_meta(kind, backbone):
    model = tiny_detector(kind, backbone).train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        inputs, samples = detection_batch(**GROUND_TRUTH['plain'])
        assert {out.device.type for out in dense_outputs(model, inputs)} == {'cuda'}
        assert pixel_text_loss(model, inputs, samples).device.type == 'cuda'
    model = tiny_detector(kind, backbone).to('meta').train()
    with meta_device():
        inputs, samples = detection_batch(**GROUND_TRUTH['plain'])
        loss = pixel_text_loss(model, inputs, samples) + sum(out.sum() for out in dense_outputs(model, inputs))
        assert loss.device.type == 'meta'
        loss.backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not [name for name in without if not name.startswith('roi_head')]


def pixel_text_loss(model, inputs, samples):
    truth = [sample.gt_instances for sample in samples]
    scores = model.match(inputs).score_map / model.tau
    boxes, labels = [t.bboxes for t in truth], [t.labels for t in truth]
    return model.pixel_text_loss(scores, boxes, labels, inputs.shape[-2:])
