"""Evidence for words against unrelated ones: equal to its definition, whatever the bands and windows."""

from __future__ import annotations

import math

import pytest
import torch

from denseclip.models.functional import word_evidence as module
from denseclip.models.functional.word_evidence import rank_among, reference_scores, word_evidence
from denseclip.structures.word_scores import FEATURES

ALL = torch.ones(5, 7, dtype=torch.bool)


def texts(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pixels(seed: int = 1) -> torch.Tensor:
    return texts(35, seed).T.reshape(1, 4, 5, 7)


def scores(rows: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return torch.einsum('mc,nchw->nmhw', rows, features)


@pytest.mark.parametrize('budget', [1, 500, 10**9])
def test_the_reference_is_its_definition_in_bands_of_any_height(monkeypatch, budget):
    monkeypatch.setattr(module, '_BUDGET', budget)
    words, features = texts(6), pixels()
    inside = ALL.clone()
    inside[:, 3:] = False
    found = reference_scores(lambda part: scores(words, part), features, inside)
    plain = scores(words, features)[0]
    level = plain.exp().mean(dim=0).log()
    torch.testing.assert_close(found.level, level)
    torch.testing.assert_close(found.tops, (plain - level)[:, inside].amax(dim=1))
    lean = reference_scores(lambda part: scores(words, part), features, inside, wants_tops=False)
    assert lean.tops is None and torch.equal(lean.level, found.level)


@pytest.mark.parametrize('budget', [1, 10**9])
def test_evidence_is_its_definition(monkeypatch, budget):
    monkeypatch.setattr(module, '_BUDGET', budget)
    classes, level = scores(texts(3), pixels())[0], pixels(2)[0, 0]
    found = word_evidence([classes], [level], [ALL])
    best = (classes - level).flatten(1).amax(dim=1)
    rival = (torch.cat([classes, level[None]]).softmax(dim=0)[:3]).flatten(1).amax(dim=1).log()
    torch.testing.assert_close(found, torch.stack([best, rival], dim=1).float())
    assert found.shape == (3, len(FEATURES))


def test_evidence_does_not_depend_on_how_a_picture_is_cut_or_what_lies_outside():
    classes, level = scores(texts(3), pixels())[0], pixels(2)[0, 0]
    whole = word_evidence([classes], [level], [ALL])
    cut = [slice(0, 2), slice(2, 5)]
    parts = word_evidence([classes[:, c] for c in cut], [level[c] for c in cut], [ALL[c] for c in cut])
    torch.testing.assert_close(parts, whole)
    inside = ALL.clone()
    inside[0] = False
    spoilt, odd = classes.clone(), level.clone()
    spoilt[:, 0], odd[0] = 1e6, -1e6
    kept = word_evidence([classes[:, 1:]], [level[1:]], [ALL[1:]])
    torch.testing.assert_close(word_evidence([spoilt], [odd], [inside]), kept)


def test_a_constant_added_to_all_scores_of_a_pixel_changes_nothing():
    classes, level, shift = scores(texts(3), pixels())[0], pixels(2)[0, 0], pixels(3)[0, 0]
    torch.testing.assert_close(
        word_evidence([classes + shift], [level + shift], [ALL]), word_evidence([classes], [level], [ALL])
    )


def test_ranks_count_the_words_below():
    tops = torch.tensor([0.0, 1.0, 2.0, math.inf])
    assert rank_among(torch.tensor([-1.0, 0.5, 1.0, 5.0]), tops).tolist() == [0.0, 0.25, 0.25, 0.75]
