"""Scores of words on the way to labels: what is left out, what takes its place, what is not known."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from denseclip.models.segmentors.word_scoring import label_wanted, score_sample, score_words
from denseclip.structures.word_scores import PROBABILITY, ScoreRequest, WordScores

# Class 0 covers half, 1 and 2 a quarter each; behind them come 1, 2 and 1.
PLANES = torch.tensor([[[5.0, 5.0, 0.0, 0.0]], [[4.0, 4.0, 5.0, 4.0]], [[0.0, 0.0, 4.0, 5.0]]])
NOTHING = 3


def wanted(request: ScoreRequest, scores=(0.9, 0.5, 0.1)) -> tuple[list[int], list[bool]]:
    words = WordScores.of(torch.tensor(scores), PROBABILITY, request)

    def label(left_out):
        planes = PLANES if left_out is None else PLANES.masked_fill(left_out[:, None, None], -1.0)
        return planes.argmax(dim=0)

    labels, words = label_wanted(request, words, label, NOTHING)
    return labels[0].tolist(), words.left_out.tolist()


def test_nothing_is_left_out_unasked():
    assert wanted(ScoreRequest()) == ([0, 0, 1, 2], [False] * 3)


def test_pixels_of_doubtful_classes_go_to_the_next_best():
    assert wanted(ScoreRequest(min_confidence=0.3)) == ([0, 0, 1, 1], [False, False, True])
    assert wanted(ScoreRequest(min_confidence=0.6)) == ([0, 0, 0, 0], [False, True, True])


def test_small_classes_are_left_out_and_do_not_come_back():
    assert wanted(ScoreRequest(min_area=0.25)) == ([0, 0, 1, 2], [False] * 3)
    assert wanted(ScoreRequest(min_area=0.26)) == ([0, 0, 0, 0], [False, True, True])
    assert wanted(ScoreRequest(min_confidence=0.3, min_area=0.3)) == ([0, 0, 1, 1], [False, False, True])


def test_where_no_class_is_left_pixels_are_nothing():
    assert wanted(ScoreRequest(min_confidence=0.95)) == ([NOTHING] * 4, [True] * 3)
    assert wanted(ScoreRequest(min_area=0.6)) == ([NOTHING] * 4, [True] * 3)


def test_the_background_is_never_left_out():
    request = ScoreRequest(min_confidence=0.95, min_area=0.9, background=2)
    assert wanted(request) == ([2] * 4, [True, True, False])


def test_what_is_not_known_is_not_left_out():
    assert wanted(ScoreRequest(min_confidence=0.3), (0.9, 0.5, float('nan'))) == ([0, 0, 1, 2], [False] * 3)


def test_one_class_alone_has_no_probability():
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert score_words(ScoreRequest(), [PLANES[:1]], [mask], None).scores.isnan().all()
    several = score_words(ScoreRequest(), [PLANES], [mask], None)
    torch.testing.assert_close(several.scores, PLANES.softmax(dim=0).flatten(1).amax(dim=1))
    assert several.kind == PROBABILITY and several.evidence is None


@pytest.mark.parametrize('pixel_scores', [False, True])
def test_models_of_others_are_scored_by_their_logits(pixel_scores):
    sample = SegDataSample()
    sample.seg_logits = PixelData(data=PLANES)
    score_sample(ScoreRequest(min_area=0.3, pixel_scores=pixel_scores), sample)
    assert sample.pred_sem_seg.data[0, 0].tolist() == [0, 0, 0, 0]
    assert sample.word_scores.kind == PROBABILITY
    assert ('pixel_scores' in sample) == pixel_scores
    if pixel_scores:
        torch.testing.assert_close(sample.pixel_scores.data.sum(dim=0), torch.ones(1, 4))
        assert not sample.pixel_scores.data[1:].any()
