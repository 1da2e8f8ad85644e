"""Label maps, panoptic segments and instances from queries."""

import pytest
import torch
import torch.nn.functional as F
from device_safety import fake_cuda
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.structures import SegDataSample

from denseclip.core.placement import Placement, upper_left
from denseclip.models.functional import mask_inference
from denseclip.models.functional.mask_inference import (
    instance_predictions,
    panoptic_segments,
    semantic_labels,
    semantic_scores,
)
from denseclip.models.segmentors.mask_results import MaskTasks, mask_boxes


def queries(seed, num=8, classes=5, size=(6, 7), peaked=4.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, classes + 1, generator=generator) * peaked
    probabilities = logits.softmax(dim=-1)
    return probabilities[:, :-1], probabilities[:, -1], torch.randn(num, *size, generator=generator) * 3


def placed(sample, size=(32, 32)):
    return Placement.of(sample.metainfo, size)


def plain_panoptic(classes, void, masks, things, score_threshold, overlap_threshold):
    """The merge as it is usually written: one query after another."""
    scores, labels = torch.cat([classes, void[:, None]], 1).max(1)
    kept = [q for q in range(len(scores)) if labels[q] < classes.shape[1] and scores[q] > score_threshold]
    ids, info, stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    if not kept:
        return ids, info
    probabilities = masks[kept].sigmoid()
    winner = (scores[kept][:, None, None] * probabilities).argmax(0)
    for k, q in enumerate(kept):
        own, won = probabilities[k] >= 0.5, winner == k
        final = own & won
        if not final.any() or won.sum() / own.sum() < overlap_threshold:
            continue
        label = int(labels[q])
        if not things[label] and label in stuff:
            ids[final] = stuff[label]
            continue
        info.append((len(info) + 1, label))
        ids[final] = len(info)
        if not things[label]:
            stuff[label] = len(info)
    return ids, info


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.8]), st.sampled_from([0.0, 0.3, 0.7]), st.booleans())
def test_panoptic_equals_the_plain_loop_whatever_the_chunks(seed, score, overlap, many):
    classes, void, masks = queries(seed, num=12 if many else 5)
    things = torch.tensor([True, False, False, True, False])
    ids, info = plain_panoptic(classes, void, masks, things, score, overlap)
    for budget in (1, 2**26):
        found = panoptic_segments(
            classes, masks, things, no_object=void, score_threshold=score, overlap_threshold=overlap, budget=budget
        )
        assert torch.equal(found.ids, ids)
        assert [(s['id'], s['category_id']) for s in found.segments_info()] == info
        assert found.is_thing.tolist() == [bool(things[label]) for _, label in info]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 70), st.booleans(), st.booleans())
def test_label_map_by_chunks_equals_the_argmax_of_all_scores(seed, classes, merge_first, resized):
    probabilities, _, masks = queries(seed, classes=classes)
    geometry = Placement((24, 28), upper_left((20, 27)), (31, 40)) if resized else Placement()
    if merge_first:
        scores = geometry.finish(semantic_scores(probabilities, geometry.enlarge(masks)))
    else:
        scores = semantic_scores(probabilities, geometry.apply(masks))
    labels = semantic_labels(probabilities, masks, geometry, merge_first=merge_first, budget=1)
    assert labels.shape == scores.shape[1:]
    chosen = scores.gather(0, labels[None].long())[0]
    assert torch.allclose(chosen, scores.amax(0), atol=1e-6)  # ties within rounding may fall either way
    assert (labels == scores.argmax(0)).float().mean() > 0.99


def test_probabilities_may_be_given_instead_of_logits():
    probabilities, _, masks = queries(0)
    geometry = Placement(out=(11, 9))
    merged = F.interpolate(
        torch.einsum('qk,qhw->khw', probabilities, masks.sigmoid())[None], size=(11, 9), mode='bilinear'
    )
    labels = semantic_labels(probabilities, masks.sigmoid(), geometry, are_logits=False)
    assert torch.equal(labels.long(), merged[0].argmax(0))


def test_a_thousand_prompts_never_make_all_planes():
    """1,203 classes at 96 x 128: all score planes take 59 MB, a chunk less than 1 MB."""
    probabilities, _, masks = queries(0, num=250, classes=1203, size=(16, 16))
    largest, own = 0, probabilities.untyped_storage().data_ptr()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            given = isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() == own  # a view takes no memory
            if isinstance(out, torch.Tensor) and not given and out.numel() != 250 * 64 * 64:  # the masks
                largest = max(largest, out.numel() * out.element_size())
            return out

    with Watch():
        labels = semantic_labels(probabilities, masks, Placement((64, 64), None, (96, 128)), budget=2**20)
    assert labels.dtype == torch.int16 and labels.shape == (96, 128)
    assert 0 < largest <= 1.1 * 2**20


def test_no_query_left_is_an_empty_map():
    classes, void, masks = queries(0)
    things = torch.ones(5, dtype=torch.bool)
    for count, threshold in ((8, 1.0), (0, 0.0)):
        found = panoptic_segments(
            classes[:count], masks[:count], things, no_object=void[:count], score_threshold=threshold
        )
        assert not found.ids.any() and found.segments_info() == []
    objects = instance_predictions(classes[:0], masks[:0], is_thing=things)
    assert objects.masks.shape == (0, 6, 7) and objects.scores.shape == (0,)
    assert semantic_labels(classes[:0], masks[:0], Placement((12, 14), None, (5, 5))).unique().tolist() == [0]


def test_instances_are_the_best_pairs_and_scored_by_their_masks():
    classes = torch.tensor([[0.9, 0.05], [0.3, 0.6]])
    masks = torch.tensor([[[2.0, -1.0]], [[0.0, 0.0]]])
    found = instance_predictions(classes, masks, topk=3)
    assert found.queries.tolist() == [0, 1, 1] and found.labels.tolist() == [0, 1, 0]
    inside = torch.tensor(2.0).sigmoid()
    assert torch.allclose(found.scores, torch.tensor([0.9 * inside, 0.0, 0.0]), atol=1e-5)  # an empty mask scores 0
    assert found.masks.tolist() == [[[True, False]], [[False, False]], [[False, False]]]
    only = instance_predictions(classes, masks, topk=3, is_thing=torch.tensor([False, True]))
    assert only.labels.tolist() == [1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_queries_does_not_matter_to_labels(seed):
    classes, _, masks = queries(seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    one, other = semantic_scores(classes, masks), semantic_scores(classes[order], masks[order])
    assert torch.allclose(one, other, atol=1e-5)


def test_what_does_not_fit_is_named():
    classes, _, masks = queries(0)
    with pytest.raises(ValueError, match='same queries'):
        semantic_labels(classes[:3], masks)
    with pytest.raises(ValueError, match='one value'):
        panoptic_segments(classes, masks, torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match='at least one class'):
        semantic_labels(classes[:, :0], masks)
    with pytest.raises(ValueError, match="'boxes'"):
        MaskTasks('boxes')
    with pytest.raises(ValueError, match='empty'):
        MaskTasks([])


def test_all_tasks_from_the_same_queries():
    classes, void, masks = queries(3, size=(8, 8))
    meta = dict(img_shape=(28, 30), ori_shape=(56, 60))
    things = [True, False, False, True, False]
    sample = SegDataSample(metainfo=meta)
    MaskTasks(('semantic', 'panoptic', 'instance'), score_threshold=0.2, overlap_threshold=0.3, topk=7).write(
        sample, classes, masks, placed(sample), things, void
    )
    geometry = Placement((32, 32), upper_left((28, 30)), (56, 60))
    assert torch.equal(sample.pred_sem_seg.data[0], semantic_scores(classes, geometry.apply(masks)).argmax(0))
    info = sample.pred_panoptic_seg.segments_info
    assert sample.pred_panoptic_seg.data.unique().tolist() == [0, *(s['id'] for s in info)] and info
    found = sample.pred_instances
    assert found.masks.shape[1:] == (56, 60) and all(things[label] for label in found.labels.tolist())
    for box, mask in zip(found.bboxes.tolist(), found.masks, strict=True):
        ys, xs = mask.nonzero(as_tuple=True)
        assert box == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0])


def test_semantic_alone_merges_before_resizing_and_may_keep_scores():
    classes, _, masks = queries(4, size=(8, 8))
    meta = dict(img_padding_size=(0, 2, 0, 4), ori_shape=(56, 60))
    geometry = Placement((32, 32), upper_left((28, 30)), (56, 60))
    expected = geometry.finish(semantic_scores(classes, geometry.enlarge(masks)))
    for keep in (False, True):
        sample = SegDataSample(metainfo=meta)
        MaskTasks(keep_logits=keep).write(sample, classes, masks, placed(sample), [True] * 5)
        assert torch.equal(sample.pred_sem_seg.data[0], expected.argmax(0))
        assert ('seg_logits' in sample) is keep
    tasks = MaskTasks()
    tasks.set_task('instance')
    sample = SegDataSample(metainfo=meta)
    tasks.write(sample, classes, masks, placed(sample), [True] * 5)
    assert 'pred_instances' in sample and 'pred_sem_seg' not in sample


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_results_of_flipped_pictures_are_turned_back(direction):
    classes, void, masks = queries(6, size=(8, 8))
    axes = {'horizontal': [-1], 'vertical': [-2], 'diagonal': [-2, -1]}[direction]
    tasks = MaskTasks(('semantic', 'panoptic', 'instance', 'proposals'), score_threshold=0.2, overlap_threshold=0.3)
    tasks.keep_logits = True
    found = []
    for planes, flip in ((masks, dict(flip=False, flip_direction=None)), (masks.flip(axes), dict(flip=True))):
        if flip['flip']:
            flip['flip_direction'] = direction
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(50, 40), **flip))
        tasks.write(sample, classes, planes, placed(sample), [True, False] * 2 + [True], void)
        found.append(sample)
    plain, turned = found
    torch.testing.assert_close(turned.seg_logits.data, plain.seg_logits.data)
    assert torch.equal(turned.pred_panoptic_seg.data, plain.pred_panoptic_seg.data)
    assert torch.equal(turned.pred_instances.masks, plain.pred_instances.masks)
    assert torch.equal(turned.pred_instances.bboxes, plain.pred_instances.bboxes)
    assert torch.equal(turned.pred_proposals.masks, plain.pred_proposals.masks)


def test_large_masks_in_half_precision_have_finite_scores():
    masks = torch.full((2, 300, 300), 20.0, dtype=torch.float16)  # more pixels than float16 can count
    found = instance_predictions(torch.tensor([[0.9], [0.1]]), masks)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.1]))


def test_chunks_decide_as_the_whole_in_half_precision():
    classes, void, masks = queries(7, num=60, size=(32, 32), peaked=0.1)
    things, masks = torch.ones(5, dtype=torch.bool), masks.to(torch.bfloat16)
    settings_ = dict(no_object=0 * void, score_threshold=0.0, overlap_threshold=0.0)
    whole, parts = (panoptic_segments(classes, masks, things, **settings_, budget=b).ids for b in (2**20, 1))
    assert torch.equal(whole, parts) and whole.any()


def test_proposals_are_all_masks():
    classes, _, masks = queries(4, size=(8, 8))
    sample = SegDataSample(metainfo=dict(img_shape=(28, 30), ori_shape=(56, 60)))
    MaskTasks('proposals').write(sample, classes, masks, placed(sample), [True] * 5)
    expected = Placement((32, 32), upper_left((28, 30)), (56, 60)).apply(masks) > 0
    assert torch.equal(sample.pred_proposals.masks, expected) and 'pred_sem_seg' not in sample


def test_boxes_of_no_mask():
    assert mask_boxes(torch.zeros(0, 4, 5, dtype=torch.bool)).shape == (0, 4)


def test_all_tensors_are_made_on_the_device_of_the_masks():
    """Fake CUDA tensors, up to the choice of queries, whose number hangs on values; then with a given number."""
    with fake_cuda():
        classes, masks = torch.rand(6, 4), torch.randn(6, 8, 8)
        for task, field in (('semantic', 'pred_sem_seg'), ('proposals', 'pred_proposals')):
            sample = SegDataSample(metainfo=dict(img_shape=(28, 30), ori_shape=(56, 60)))
            MaskTasks(task).write(sample, classes, masks, placed(sample), [True] * 4, torch.rand(6))
            assert all(value.device.type == 'cuda' for value in getattr(sample, field).values())
        things = torch.tensor([True] * 6)
        geometry = Placement((32, 32), upper_left((28, 30)), (56, 60))
        found = mask_inference._compete(classes[:, 0], masks, geometry, budget=1)
        number, leaders = mask_inference._number_segments(torch.arange(6), things, things)
        boxes = mask_boxes(masks > 0)
        assert {t.device.type for t in (*found, number, leaders, boxes)} == {'cuda'}
