"""Class logits against text rows with synonyms."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.text_logits import merge_synonyms, text_logits

counts = st.lists(st.integers(1, 4), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(counts, st.booleans())
def test_best_synonym_of_each_class_then_void(synonyms, per_picture):
    rows = torch.randn(*((2,) if per_picture else ()), sum(synonyms) + 1, 8)
    embeddings = torch.randn(2, 3, 8)
    logits = text_logits(embeddings, rows, torch.tensor(synonyms), torch.tensor(1.5))
    scores = math.exp(1.5) * torch.einsum('nqd,nrd->nqr', F.normalize(embeddings, dim=-1), rows.expand(2, -1, -1))
    *names, void = scores.split([*synonyms, 1], dim=-1)
    wanted = torch.cat([*(name.amax(-1, keepdim=True) for name in names), void], dim=-1)
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(counts, st.sampled_from(['max', 'mean']))
def test_gradient_goes_where_a_loop_over_classes_sends_it(synonyms, how):
    scores = torch.randn(3, sum(synonyms), dtype=torch.float64, requires_grad=True)
    probe = torch.randn(3, len(synonyms), dtype=torch.float64)
    mine = torch.autograd.grad(merge_synonyms(scores, torch.tensor(synonyms), how), scores, probe)[0]
    parts = [part.amax(-1) if how == 'max' else part.mean(-1) for part in scores.split(synonyms, dim=-1)]
    torch.testing.assert_close(mine, torch.autograd.grad(torch.stack(parts, -1), scores, probe)[0])


def test_the_factor_ends_at_100():
    rows = F.normalize(torch.randn(2, 4), dim=-1)
    logits = text_logits(rows[None, :1], rows, torch.tensor([1]), torch.tensor(9.0))
    assert logits[0, 0, 0].item() == pytest.approx(100.0, rel=1e-5)


def test_full_precision_under_autocast():
    rows, embeddings, one = torch.randn(5, 16), torch.randn(1, 3, 16), torch.tensor([2, 2])
    exact = text_logits(embeddings, rows, one, torch.tensor(4.6))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(text_logits(embeddings, rows, one, torch.tensor(4.6)), exact)


def test_rows_and_synonyms_of_different_vocabularies_are_refused():
    with pytest.raises(ValueError, match='adds up to 4 names, but there are 5'):
        text_logits(torch.randn(1, 2, 8), torch.randn(6, 8), torch.tensor([2, 2]), torch.tensor(1.0))
