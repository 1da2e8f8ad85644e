"""Both mIoUs, against plain counting, mmseg's metric and hand-made cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric
from PIL import Image

from denseclip.evaluation import SemanticMetric
from denseclip.evaluation.confusion import confusion_matrix, scores_of_confusion

NAMES = ('a', 'b', 'c', 'd', 'e')


def samples(seed: int, count: int = 3, classes: int = 5, ignored: int = 255) -> list[dict]:
    """Class 1 is predicted and never true, class 3 neither."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in range(count):
        truth = torch.randint(classes, (1, 6, 7), generator=generator)
        truth[(truth == 1) | (truth == 3)] = ignored
        guess = torch.randint(classes, (1, 6, 7), generator=generator)
        guess[guess == 3] = 0
        path = f'picture{index}.jpg'
        made.append(dict(pred_sem_seg=dict(data=guess), gt_sem_seg=dict(data=truth), img_path=path))
    return made


def run(metric: SemanticMetric, data: list[dict], names: tuple[str, ...] = NAMES) -> dict[str, float]:
    metric.dataset_meta = dict(classes=names)
    metric.process(None, data)
    return metric.compute_metrics(metric.results)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_equal_plain_counting(seed: int) -> None:
    data = samples(seed)
    truth = torch.cat([s['gt_sem_seg']['data'].flatten() for s in data]).numpy()
    guess = torch.cat([s['pred_sem_seg']['data'].flatten() for s in data]).numpy()
    scored = truth != 255
    truth, guess = truth[scored], guess[scored]
    ious = {}
    for k in range(5):
        union = ((truth == k) | (guess == k)).sum()
        if union:
            ious[k] = 100 * ((truth == k) & (guess == k)).sum() / union
    result = run(SemanticMetric(per_class=False), data)
    assert result['mIoU_gt_or_predicted'] == pytest.approx(np.mean(list(ious.values())))
    assert result['mIoU_gt'] == pytest.approx(np.mean([ious[k] for k in np.unique(truth)]))
    assert result['mIoU_gt'] >= result['mIoU_gt_or_predicted']
    assert result['aAcc'] == pytest.approx(100 * (truth == guess).mean())
    assert result['classes_gt'] == len(np.unique(truth)) and result['classes_gt_or_predicted'] == len(ious)


def test_mmseg_divides_by_what_is_true_or_predicted() -> None:
    data = samples(0)
    theirs = IoUMetric()
    theirs.dataset_meta = dict(classes=NAMES)
    theirs.process({}, data)
    ours = run(SemanticMetric(divisor='gt_or_predicted'), data)
    assert ours['mIoU'] == pytest.approx(theirs.compute_metrics(theirs.results)['mIoU'], abs=0.006)  # theirs is rounded


def test_the_divisor_is_stated() -> None:
    data = samples(1)
    low, high = run(SemanticMetric(divisor='gt_or_predicted'), data), run(SemanticMetric(divisor='gt'), data)
    assert low['mIoU'] == low['mIoU_gt_or_predicted'] < high['mIoU'] == high['mIoU_gt'] == low['mIoU_gt']
    assert (low['classes_gt'], low['classes_gt_or_predicted']) == (3, 4)
    with pytest.raises(ValueError, match='gt, gt_or_predicted'):
        SemanticMetric(divisor='all')


def test_sets_by_name_or_index_are_the_same() -> None:
    data = samples(2)
    by_name = run(SemanticMetric(sets=dict(base=['a', 'c'])), data)
    assert by_name == run(SemanticMetric(sets=dict(base=[0, 2])), data)
    assert {'mIoU-base', 'mIoU-unbase', 'hIoU-base', 'pAcc-unbase'} <= set(by_name)
    rest = [k for k in range(len(NAMES)) if k not in (0, 2)]
    both = run(SemanticMetric(sets=dict(base=[0, 2], unbase=rest)), data)
    assert set(both) == set(by_name) | {'hIoU-unbase'}
    assert all(both[key] == by_name[key] for key in by_name)
    with pytest.raises(ValueError, match='zebra'):
        run(SemanticMetric(sets=dict(base=['zebra'])), data)


def test_more_than_255_classes_are_ignored_by_65535(tmp_path: Path) -> None:
    names = tuple(f'class {k}' for k in range(300))
    truth = torch.tensor([[[255, 299, 65535, 0]]])
    sample = dict(
        pred_sem_seg=dict(data=torch.tensor([[[255, 299, 7, 1]]])), gt_sem_seg=dict(data=truth), img_path='p.jpg'
    )
    result = run(SemanticMetric(output_dir=tmp_path), [sample], names)
    assert result['classes_gt'] == 3 and result['aAcc'] == pytest.approx(200 / 3)
    assert np.asarray(Image.open(tmp_path / 'p.png')).tolist() == [[255, 299, 7, 1]]


def test_results_of_processes_may_be_put_together() -> None:
    data = samples(3, count=4)
    together = run(SemanticMetric(), data)
    parts = [SemanticMetric(), SemanticMetric()]
    for part, share in zip(parts, (data[:1], data[1:]), strict=True):
        part.dataset_meta = dict(classes=NAMES)
        part.process(None, share)
    assert parts[0].compute_metrics(parts[0].results + parts[1].results) == together
    evaluator = Evaluator(dict(type='SemanticMetric', per_class=False))
    evaluator.dataset_meta = dict(classes=NAMES)
    for sample in data:
        evaluator.process([sample], None)
    assert evaluator.evaluate(len(data)) == together


def test_nothing_true_gives_no_score_but_no_crash() -> None:
    truth = torch.full((4, 4), 255)
    scores = scores_of_confusion(confusion_matrix(torch.zeros(4, 4), truth, 2))
    assert np.isnan(scores.miou_gt) and scores.classes_gt == 0


def test_narrow_label_maps_keep_a_wide_ignored_label_apart() -> None:
    """Eight bits hold no 65535: a 255 in them is a class of its own."""
    guess, truth = torch.tensor([3, 255], dtype=torch.uint8), torch.tensor([3, 255], dtype=torch.uint8)
    counted = confusion_matrix(guess, truth, 300, 65535)
    assert counted[3, 3] == counted[255, 255] == 1 and counted.sum() == 2


def test_sums_of_many_pictures_are_those_of_their_matrices() -> None:
    data = samples(5, count=80)
    metric = SemanticMetric(per_class=False)
    run(metric, data)
    maps = [(s['pred_sem_seg']['data'], s['gt_sem_seg']['data']) for s in data]
    whole = scores_of_confusion(sum(confusion_matrix(*pair, 5) for pair in maps))
    torch.testing.assert_close(metric.scores.iou, whole.iou, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(('guess', 'truth'), [(6, 0), (0, 5), (-1, 0)])
def test_classes_out_of_range_are_named(guess: int, truth: int) -> None:
    with pytest.raises(ValueError, match='there are 5 classes'):
        confusion_matrix(torch.tensor([guess]), torch.tensor([truth]), 5)


def test_a_background_label_is_a_miss_as_in_mmseg() -> None:
    """A background without words has the label K, in predictions alone."""
    generator = torch.Generator().manual_seed(3)
    data = [
        dict(
            pred_sem_seg=dict(data=torch.randint(4, (1, 9, 9), generator=generator)),
            gt_sem_seg=dict(data=torch.randint(3, (1, 9, 9), generator=generator)),
        )
        for _ in range(2)
    ]
    names = ('a', 'b', 'c')
    ours, theirs = run(SemanticMetric(divisor='gt_or_predicted'), data, names), IoUMetric()
    theirs.dataset_meta = dict(classes=names)
    theirs.process({}, data)
    expected = theirs.compute_metrics(theirs.results)
    assert [round(ours[key], 2) for key in ('mIoU', 'mAcc', 'aAcc')] == [
        pytest.approx(expected[key], abs=0.011) for key in ('mIoU', 'mAcc', 'aAcc')
    ]
    counted = confusion_matrix(torch.tensor([2, 1, 2]), torch.tensor([0, 1, 255]), 2)
    assert counted.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 1]]
