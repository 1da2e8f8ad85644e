"""Matching and losses of the mask generator."""

import multiprocessing
import os

import pytest
import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from tiny_mask_generator import halves

from denseclip.core.regions import Recompute, run_regions
from denseclip.models.heads.mask2former import (
    LayerPrediction,
    MaskCriterion,
    MaskPredictions,
    PixelFeatures,
    PointMaskMatcher,
)
from denseclip.models.heads.mask2former import criterion as criterion_module
from denseclip.models.heads.mask2former.criterion import sample_segments

SIZE = (16, 24)


def perfect(targets, queries=5, classes=3):
    """Predictions that are right: segment i of each picture is query i."""
    masks, logits = torch.full((len(targets), queries, *SIZE), -20.0), torch.zeros(len(targets), queries, classes + 1)
    logits[..., -1] = 20.0
    for n, target in enumerate(targets):
        count = len(target.labels)
        masks[n, :count] = 40.0 * target.masks.float() - 20.0
        logits[n, torch.arange(count), target.labels] = 40.0
    return LayerPrediction(masks, logits)


def as_predictions(*layers):
    return MaskPredictions(layers, PixelFeatures(torch.zeros(1), ()))


def random_layer(batch=2, queries=5, classes=3):
    return LayerPrediction(torch.randn(batch, queries, *SIZE), torch.randn(batch, queries, classes + 1))


def test_right_predictions_cost_little_and_wrong_ones_much():
    """Only one query, so that it answers whether it is right or wrong."""
    targets, criterion = [halves(0, size=SIZE), halves(2, size=SIZE)], MaskCriterion(num_points=200)
    right, wrong = (perfect(targets, queries=1) for _ in range(2))
    wrong.mask_logits.neg_()
    good, bad = (criterion(as_predictions(layer), targets) for layer in (right, wrong))
    assert good['loss_ce'] < 1e-6
    # Not zero: sure as it is, a point next to the frame is sampled between a pixel and the zeros outside.
    assert good['loss_mask'] < 0.2 * bad['loss_mask'] and good['loss_dice'] < 0.1 * bad['loss_dice']


def test_matches_are_the_right_ones_in_any_order():
    targets = [halves(0, 2, 1, size=SIZE), halves(size=SIZE)]
    layer, order = perfect(targets), torch.randperm(5)
    matches = PointMaskMatcher(num_points=50)(layer.class_logits[:, order], layer.mask_logits[:, order], targets)
    assert order[matches[0][0]].tolist() == matches[0][1].tolist()
    assert [len(part) for part in matches[1]] == [0, 0]


def test_void_weighs_less_and_the_weights_are_divided_out():
    criterion = MaskCriterion(void_weight=0.25)
    logits = torch.randn(1, 3, 3)
    loss = criterion.class_loss(logits, torch.tensor([0]), torch.tensor([1]), torch.tensor([0]))
    single = -logits[0].log_softmax(-1)
    wanted = (0.25 * single[0, 2] + single[1, 0] + 0.25 * single[2, 2]) / 1.5
    torch.testing.assert_close(loss, wanted)


def test_equals_mmdets_losses():
    """Same draws, same numbers as MMDetection's own Mask2Former losses."""
    targets = [halves(0, 2, size=SIZE), halves(1, size=SIZE)]
    layer, points = random_layer(), 40
    theirs = Mask2FormerHead.__new__(Mask2FormerHead)
    torch.nn.Module.__init__(theirs)
    build_losses(theirs, points)
    torch.manual_seed(3)
    gt = [InstanceData(labels=t.labels, masks=t.masks.long()) for t in targets]
    wanted = theirs._loss_by_feat_single(layer.class_logits, layer.mask_logits, gt, [{}, {}])
    torch.manual_seed(3)
    losses = MaskCriterion(num_points=points)(as_predictions(layer), targets)
    for name, value in zip(('loss_ce', 'loss_mask', 'loss_dice'), wanted, strict=True):
        torch.testing.assert_close(losses[name], value.squeeze(), atol=1e-5, rtol=1e-5)


def build_losses(head, points):
    """Give MMDetection's head only what its losses need."""
    from mmdet.registry import MODELS, TASK_UTILS

    head.num_classes, head.num_queries, head.num_points = 3, 5, points
    head.oversample_ratio, head.importance_sample_ratio = 3.0, 0.75
    head.class_weight = [1.0, 1.0, 1.0, 0.1]
    build = MODELS.build
    head.loss_cls = build(dict(type='mmdet.CrossEntropyLoss', loss_weight=2.0, class_weight=head.class_weight))
    head.loss_mask = build(dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0))
    dice = dict(use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=5.0)
    head.loss_dice = build(dict(type='mmdet.DiceLoss', **dice))
    costs = [
        dict(type='mmdet.ClassificationCost', weight=2.0),
        dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
        dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
    ]
    head.assigner = TASK_UTILS.build(ConfigDict(type='mmdet.HungarianAssigner', match_costs=costs))
    head.sampler = TASK_UTILS.build(dict(type='mmdet.MaskPseudoSampler'))


def test_points_are_where_the_mask_is_least_sure():
    criterion = MaskCriterion(num_points=64, oversample_ratio=4.0, importance_sample_ratio=0.75)
    ramp = torch.linspace(-8, 8, 33).expand(1, 32, 33)
    points = criterion.sample_points(ramp)
    assert points.shape == (1, 64, 2)
    near = (points[0, :48, 0] - 0.5).abs()
    assert near.max() < (points[0, 48:, 0] - 0.5).abs().max() and near.mean() < 0.15


def test_last_layer_has_the_plain_names():
    targets = [halves(0, size=SIZE), halves(size=SIZE)]
    wrong, right = random_layer(), perfect(targets)
    losses = MaskCriterion(num_points=50)(as_predictions(wrong, right), targets)
    assert losses['loss_ce'] < losses['loss_ce_0']


def losses_and_kept(layers, targets, criterion):
    """Losses, their gradients, and bytes that wait for the backward pass."""
    kept = {}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(4)
    factors = [x for layer in layers for x in (layer.mask_embeddings, layer.mask_features)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        losses = criterion(as_predictions(*layers), targets)
    return losses, torch.autograd.grad(sum(losses.values()), factors), sum(kept.values())


def test_losses_computed_again_are_the_same_and_keep_little():
    """The same points are drawn again, a few masks at a time."""
    targets, criterion = [halves(0, 2, 1, size=SIZE), halves(1, size=SIZE)], MaskCriterion(num_points=3000)
    layers = [
        LayerPrediction(None, torch.randn(2, 5, 4), None, *(x.requires_grad_() for x in (torch.randn(2, 5, 8), maps)))
        for maps in torch.randn(2, 2, 8, *SIZE)
    ]
    plain = losses_and_kept(layers, targets, criterion)
    run_regions([criterion], Recompute(), forward=False)
    again = losses_and_kept(layers, targets, criterion)
    assert all(torch.equal(again[0][name], value) for name, value in plain[0].items())
    torch.testing.assert_close(again[1], plain[1], rtol=1e-6, atol=1e-7)
    assert again[2] < 0.1 * plain[2]


def test_masks_are_sampled_a_few_at_a_time(monkeypatch):
    """Whatever their number, and with a picture that has none."""
    masks, points = torch.rand(7, *SIZE), torch.rand(9, 40, 2)
    segments = [(masks[:4], torch.tensor([3, 0, 0, 1])), (masks[:0], torch.tensor([], dtype=torch.long))]
    segments.append((masks[4:], torch.tensor([2, 1, 0, 2, 2])))
    whole = sample_segments(segments, points)
    monkeypatch.setattr(criterion_module, '_COPIED', 2 * SIZE[0] * SIZE[1])
    assert whole.shape == (9, 40) and torch.equal(sample_segments(segments, points), whole)


def test_masks_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match='pad all masks'):
        MaskCriterion().prepare([halves(0, size=SIZE), halves(0, size=(8, 8))], torch.device('cpu'))


def test_predictions_that_are_not_finite_are_named():
    layer = LayerPrediction(torch.full((1, 5, *SIZE), float('nan')), torch.zeros(1, 5, 4))
    with pytest.raises(FloatingPointError, match='last decoder layer'):
        MaskCriterion(num_points=10)(as_predictions(layer), [halves(0, size=SIZE)])


def _count(rank, path, segments, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{path}', rank=rank, world_size=2)
    value = MaskCriterion.count_masks([halves(*[0] * segments, size=SIZE)], torch.device('cpu'))
    results.put((rank, value.item()))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(('segments', 'mean'), [((5, 2), 3.5), ((0, 0), 1.0), ((1, 0), 1.0)])
def test_mask_losses_are_divided_by_the_mean_over_processes(tmp_path, segments, mean):
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    fork = multiprocessing.get_context('fork')
    results = fork.SimpleQueue()
    arguments = [(rank, tmp_path / 'rendezvous', count, results) for rank, count in enumerate(segments)]
    processes = [fork.Process(target=_count, args=a) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert {results.get() for _ in processes} == {(0, mean), (1, mean)}
