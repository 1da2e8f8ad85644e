"""The study of backgrounds: what is held out, what is counted, and that labels are those of the product."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_heads import gaussians
from mmengine.registry import init_default_scope
from tiny_open_vocab import tiny_open_vocab

from denseclip.apis.images import Picture
from denseclip.apis.inferencer import Inferencer
from denseclip.clip.vocabulary import Vocabulary
from studies.unknown_study import Fold, FoldData, Judge, area, ious, score_maps


def test_a_fold_holds_classes_out_of_words_and_labels() -> None:
    fold = Fold.of(Vocabulary.parse('a; b; c; d; e'), 1, 4)
    assert fold.words.names == ('a', 'c', 'd', 'e')
    labels = np.array([[0, 1, 2], [3, 4, -1]])
    data = SimpleNamespace(truth=lambda count: lambda path: labels, splits={})
    assert FoldData(data, fold, 4).truth(4)('x').tolist() == [[0, 4, 1], [2, 3, -1]]
    assert FoldData(data, fold, -1).truth(4)('x').tolist() == [[0, -1, 1], [2, 3, -1]]  # to make heads of


def test_what_is_counted() -> None:
    table = torch.tensor([[6, 0, 2], [0, 8, 0], [1, 1, 2]])  # the unknown is last
    known, unknown, both = ious(table)
    assert known == pytest.approx(100 * (6 / 8 + 8 / 8) / 2)  # unknown pixels are not looked at
    assert unknown == pytest.approx(100 * 2 / 6)
    assert both == pytest.approx(100 * (6 / 9 + 8 / 9 + 2 / 6) / 3)
    there = np.array([0, 0, 1, 1])
    assert area([np.array([0.1, 0.2, 0.8, 0.9])], there) == 100 and np.isnan(area([], there))


def test_scores_rise_with_doubt() -> None:
    sure, torn = torch.tensor([9.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])
    for name, found in score_maps(torch.stack([sure, torn], dim=1)[:, :, None]):
        assert found.shape == (2, 1) and found[1] > found[0], name


def test_labels_are_those_of_the_policies() -> None:
    """What the study computes from one look is what a user gets from each policy, for classes of one name each.

    Of several names the study takes the best before it resizes, a model after.
    """
    init_default_scope('mmseg')
    words = Vocabulary.parse('sky; car; road')
    head = gaussians(words.names, 16)

    def load(words: Vocabulary, **options: object) -> Inferencer:
        return Inferencer.from_model(tiny_open_vocab('naclip', vocabulary=words), [{'type': 'PackSegInputs'}])

    judge = Judge(load, Fold(words, np.array([0, 1, 2, -1])), ())
    judge.head = head
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    views = judge.views(Picture.of(picture))
    assert set(views.unknown) == set(views.labels)
    plain = judge.plain.segment(picture, pixel_scores=True, channel_order='rgb')
    assert np.array_equal(views.labels['probability (threshold)'].numpy(), plain.label_map)
    np.testing.assert_allclose(-views.unknown['probability (threshold)'].numpy(), plain.pixel_scores.max(0), atol=1e-4)
    assert np.array_equal(
        views.labels['prompts'].numpy(), judge.prompts.segment(picture, channel_order='rgb').label_map
    )
    judge.plain.model.pixel_head, judge.plain.unknown = head, 0.5
    headed = judge.plain.segment(picture, channel_order='rgb')
    np.testing.assert_allclose(views.unknown['gda'].numpy(), headed.strangeness, atol=1e-4)
    taken = views.labels['gda'].masked_fill(views.unknown['gda'] > 0.5, 3)
    assert np.mean(taken.numpy() == headed.label_map) > 0.999
