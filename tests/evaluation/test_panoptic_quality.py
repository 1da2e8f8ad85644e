"""Panoptic quality against panopticapi's own code, which MMDetection carries a copy of, and by its rules."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.evaluation.functional import panoptic_utils
from PIL import Image

from denseclip.evaluation.panoptic_quality import PanopticCounts, PanopticFormatError
from denseclip.structures.panoptic import ids_to_rgb, rgb_to_ids

CLASSES = 5


class Stat:
    """The counters that panopticapi keeps for a class; the copy in MMDetection expects them from outside."""

    def __init__(self):
        self.tp = self.fp = self.fn = 0
        self.iou = 0.0


class Stats(defaultdict):
    def __init__(self):
        super().__init__(Stat)


def random_map(rng, size=(14, 17)):
    """Overlapping boxes with void and crowds; ids are arbitrary, some need all three bytes."""
    ids = np.zeros(size, dtype=np.int64)
    if rng.random() < 0.7:
        ids += 1
    count = int(rng.integers(0, 9))
    numbers = [1, *rng.choice(np.arange(2, 2**24), count, replace=False).tolist()]
    for number in numbers[1:]:
        top, left = rng.integers(0, size[0] - 2), rng.integers(0, size[1] - 2)
        ids[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = number
    ids[: rng.integers(0, 4)] = 0
    present = [n for n in numbers if (ids == n).any()]
    return ids, [
        {
            'id': n,
            'category_id': int(rng.integers(0, CLASSES)),
            'iscrowd': int(rng.random() < 0.25),
            'area': int((ids == n).sum()),
        }
        for n in present
    ]


def disturbed(rng, ids, segments):
    """A prediction: the truth shifted, with some classes exchanged and some segments lost or divided."""
    shifted = np.roll(ids, int(rng.integers(-2, 3)), axis=int(rng.integers(0, 2)))
    out, listed = np.zeros_like(ids), []
    for segment in segments:
        mask = shifted == segment['id']
        if rng.random() < 0.15 or not mask.any():
            continue
        wrong = rng.random() < 0.2
        number = int(rng.integers(1, 2**24))
        out[mask] = number
        listed.append({'id': number, 'category_id': int(rng.integers(0, CLASSES)) if wrong else segment['category_id']})
    if rng.random() < 0.4:
        out[:4, :4] = 77
        listed.append({'id': 77, 'category_id': int(rng.integers(0, CLASSES))})
    unique = {s['id']: s for s in listed if (out == s['id']).any()}
    return out, list(unique.values())


def panopticapi(folder, pairs, monkeypatch):
    """Counts by the copied code, from PNG files as it wants them."""
    monkeypatch.setattr(panoptic_utils, 'PQStat', Stats)
    monkeypatch.setattr(panoptic_utils, 'rgb2id', rgb_to_ids)
    annotations = []
    for number, (truth, prediction) in enumerate(pairs):
        pair = []
        for kind, (ids, segments) in (('truth', truth), ('prediction', prediction)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(ids_to_rgb(ids)).save(folder / kind / f'{number}.png')
            listed = [dict(s) for s in segments]
            pair.append({'image_id': number, 'file_name': f'{number}.png', 'segments_info': listed})
        annotations.append(pair)
    categories = {k: {} for k in range(CLASSES)}
    return panoptic_utils.pq_compute_single_core(
        0, annotations, str(folder / 'truth'), str(folder / 'prediction'), categories
    )


def test_equals_panopticapi_on_two_hundred_random_maps(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(200):
        truth = random_map(rng)
        pairs.append((truth, disturbed(rng, *truth) if rng.random() < 0.85 else _without_crowd(random_map(rng))))
    reference = panopticapi(tmp_path, pairs, monkeypatch)
    ours = PanopticCounts(CLASSES)
    for truth, prediction in pairs:
        ours.update(*truth, *prediction)
    for k in range(CLASSES):
        assert (ours.tp[k], ours.fp[k], ours.fn[k]) == (reference[k].tp, reference[k].fp, reference[k].fn)
        assert ours.iou[k] == pytest.approx(reference[k].iou, abs=1e-9)
    # the sample reaches every rule
    assert ours.tp.min() > 10 and ours.fp.min() > 10 and ours.fn.min() > 10
    assert sum(s['iscrowd'] for (_, segments), _ in pairs for s in segments) > 50
    values, means = ours.per_class(), ours.means([True, True, False, False, False])
    assert np.allclose(values['PQ'], values['SQ'] * values['RQ'])
    assert means['PQ_th'] == pytest.approx(values['PQ'][:2].mean())
    assert means['SQ_st'] == pytest.approx(values['SQ'][2:].mean())


def _without_crowd(pair):
    ids, segments = pair
    return ids, [{'id': s['id'], 'category_id': s['category_id']} for s in segments]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_truth_against_itself_is_perfect_whatever_the_numbers(seed):
    rng = np.random.default_rng(seed)
    ids, segments = random_map(rng)
    segments = [{**s, 'iscrowd': 0} for s in segments]
    renamed = {s['id']: i for i, s in enumerate(segments, start=3)}
    other = np.vectorize(lambda v: renamed.get(v, 0))(ids)
    counts = PanopticCounts(CLASSES)
    counts.update(ids, segments, other, [{'id': renamed[s['id']], 'category_id': s['category_id']} for s in segments])
    assert counts.fp.sum() == counts.fn.sum() == 0 and counts.tp.sum() == len(segments)
    assert counts.iou.sum() == pytest.approx(len(segments))


def test_counts_of_parts_add_up():
    rng = np.random.default_rng(1)
    whole, parts = PanopticCounts(CLASSES), [PanopticCounts(CLASSES) for _ in range(2)]
    for i in range(6):
        truth = random_map(rng)
        prediction = disturbed(rng, *truth)
        for counts in (whole, parts[i % 2]):
            counts.update(*truth, *prediction)
    parts[0] += parts[1]
    assert np.array_equal(parts[0].tp, whole.tp) and np.allclose(parts[0].iou, whole.iou)
    assert parts[0].means([True] * CLASSES) == pytest.approx(whole.means([True] * CLASSES))


def test_nothing_counted_is_zero_and_not_a_number_per_class():
    counts = PanopticCounts(2)
    counts.update(np.zeros((4, 4), dtype=int), [], np.zeros((4, 4), dtype=int), [])
    assert np.isnan(counts.per_class()['PQ']).all()
    assert counts.means([True, False])['PQ'] == 0.0


@pytest.mark.parametrize(
    ('ids', 'segments', 'message'),
    [
        (np.full((2, 2), 3), [], 'lacks'),
        (np.full((2, 2), 3), [{'id': 3, 'category_id': 0}, {'id': 4, 'category_id': 0}], 'no pixel'),
        (np.full((2, 2), 3), [{'id': 3, 'category_id': 9}], r'known are 0\.\.4'),
        (np.full((2, 2), 3), [{'id': 3, 'category_id': 0}, {'id': 3, 'category_id': 1}], 'different ids'),
        (np.full((2, 3), 3), [{'id': 3, 'category_id': 0}], 'size'),
    ],
)
def test_predictions_that_do_not_fit_are_named(ids, segments, message):
    with pytest.raises(PanopticFormatError, match=message):
        PanopticCounts(CLASSES).update(np.zeros((2, 2), dtype=int), [], ids, segments)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ids_pass_through_colours(seed):
    ids = np.random.default_rng(seed).integers(0, 2**24, (5, 7))
    assert np.array_equal(rgb_to_ids(ids_to_rgb(ids)), ids)


def test_ids_beyond_three_bytes_are_refused():
    with pytest.raises(ValueError, match='within'):
        ids_to_rgb(np.array([[2**24]]))
