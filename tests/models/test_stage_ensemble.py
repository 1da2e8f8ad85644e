"""Class scores from two stages, and who decided."""

import pytest
import torch

from denseclip.models.functional.ensemble import best_masks, combine_stages, deciding_stage
from denseclip.structures.deciders import DECIDERS


@pytest.fixture
def stages():
    torch.manual_seed(0)
    first, second = (torch.randn(4, 3).log_softmax(-1) for _ in range(2))
    return first, second, torch.tensor([True, True, False, True])


def test_weights_lead_from_one_stage_to_the_other(stages):
    first, second, valid = stages
    assert torch.allclose(combine_stages(first, second, valid, weight=0.0), first.exp())
    full = combine_stages(first, second, valid, weight=1.0)
    assert torch.allclose(full[valid], second.exp()[valid]) and torch.equal(full[2], torch.ones(3))
    half = combine_stages(first, second, valid, weight=0.5)
    assert torch.allclose(half[valid], (first.exp() * second.exp()).sqrt()[valid])


def test_one_stage_alone(stages):
    first, second, valid = stages
    assert torch.equal(combine_stages(first, second, valid, stages='first'), first.exp())
    alone = combine_stages(first, second, valid, stages='second')
    assert torch.equal(alone[2], torch.zeros(3)) and torch.allclose(alone[valid], second.exp()[valid])
    nobody = torch.zeros(4, dtype=torch.bool)
    assert torch.equal(combine_stages(first, second, nobody, stages='second'), first.exp())
    assert torch.equal(combine_stages(None, second, nobody), torch.zeros(4, 3))
    assert torch.equal(combine_stages(first, None, nobody), first.exp())


def test_rows_that_were_not_seen_may_hold_anything(stages):
    first, second, valid = stages
    broken = second.clone()
    broken[2] = torch.nan
    for how in ('both', 'second'):
        found = combine_stages(first, broken, valid, stages=how)
        assert torch.equal(found, combine_stages(first, second, valid, stages=how))


def test_what_cannot_be_combined(stages):
    first, second, valid = stages
    with pytest.raises(ValueError, match='neither stage'):
        combine_stages(None, None, valid)
    with pytest.raises(ValueError, match='no class embeddings'):
        combine_stages(None, second, valid, stages='first')
    with pytest.raises(ValueError, match='choose from both'):
        combine_stages(first, second, valid, stages='third')


def test_the_best_mask_of_each_class():
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.2, 0.8], [0.95, 0.7, 0.1]])
    assert best_masks(scores).tolist() == [1, 2]
    assert best_masks(scores, skip_last=True).tolist() == [2]


def test_who_decided():
    logits = torch.tensor([[2.0, 0, 1], [2.0, 0, 1], [2.0, 0, 1], [2.0, 0, 1.9]])
    other = torch.tensor([[2.0, 0, 1], [0.0, 9, 1], [0.0, 0, 1], [0.0, 2, 1.9]])
    first, second = logits.log_softmax(-1), other.log_softmax(-1)
    valid = torch.tensor([True, True, False, True])
    scores = combine_stages(first, second, valid, weight=0.5)
    who = [DECIDERS[i] for i in deciding_stage(scores, first, second, valid)]
    assert who == ['both stages', 'CLIP', 'mask generator', 'their mean']
