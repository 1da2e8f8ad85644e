"""Prompts shown in training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.heads.pmp import PromptSampler, PromptTable, PromptTokens

NAMES = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4])
"""Class of each prompt: 5 classes, 8 names."""


def table(length: int = 1) -> PromptTable:
    """The first value of a token is the place of its prompt in the table."""
    tokens = torch.arange(8.0)[:, None, None].expand(8, length, 3)
    lengths = torch.arange(8) % length + 1
    return PromptTable(tokens, torch.arange(length) >= lengths[:, None], NAMES, 5)


def shown(prompts: PromptTokens, image: int = 0) -> list[int]:
    return prompts.tokens[image, ~prompts.absent[image], 0].long().tolist()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    present=st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(['random', 'full', 'positive_only']),
)
def test_present_classes_are_always_shown_by_one_of_their_names(present, seed, mode) -> None:
    here = torch.tensor(present)
    prompts = PromptSampler(mode)(table(), here, seeded(seed))
    for image, row in enumerate(here):
        classes = NAMES[shown(prompts, image)].tolist()
        there = prompts.tokens[image, prompts.present[image], 0].long()
        assert sorted(NAMES[there].tolist()) == row.nonzero()[:, 0].tolist()
        assert len(set(classes)) == len(classes)  # one name each
        assert set(row.nonzero()[:, 0].tolist()) <= set(classes)
        if mode == 'full':
            assert sorted(classes) == [0, 1, 2, 3, 4]
        if mode == 'positive_only':
            assert len(classes) == int(row.sum())


def test_a_seed_decides_everything() -> None:
    here = torch.zeros(4, 5, dtype=torch.bool)
    first, again = (PromptSampler()(table(), here, seeded(5)) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens) and torch.equal(first.absent, again.absent)
    assert not torch.equal(first.absent, PromptSampler()(table(), here, seeded(6)).absent)


def test_expected_share_of_absent_classes() -> None:
    kept = PromptSampler().shown(torch.zeros(4000, 50, dtype=torch.bool), seeded(0)).float()
    assert float(kept.mean()) == pytest.approx(0.65, abs=0.01)
    per_image = kept.mean(1)  # r is drawn per image: shares spread as U(0.3, 1) does, not as one binomial
    assert float(per_image.std()) == pytest.approx((0.7**2 / 12 + 0.2 / 50) ** 0.5, abs=0.02)
    fixed = PromptSampler(keep=(0.2, 0.2)).shown(torch.zeros(4000, 50, dtype=torch.bool), seeded(0)).float()
    assert float(fixed.mean()) == pytest.approx(0.2, abs=0.01)


def test_order_and_names_vary() -> None:
    here = torch.ones(300, 5, dtype=torch.bool)
    prompts = PromptSampler('full')(table(), here, seeded(0))
    rows = prompts.tokens[..., 0].long()
    assert len({tuple(row.tolist()) for row in NAMES[rows]}) > 100
    assert set(rows.unique().tolist()) == set(range(8))  # every synonym gets its turn
    counts = torch.bincount(rows.flatten(), minlength=8)[:3]
    assert int(counts.sum()) == 300 and int(counts.min()) > 60


def test_mean_of_names() -> None:
    names = torch.nn.functional.normalize(torch.randn(8, 1, 3, generator=seeded(0)), dim=-1)
    bank = PromptTable(names, torch.zeros(8, 1, dtype=torch.bool), NAMES, 5)
    prompts = PromptSampler('full', synonyms='mean')(bank, torch.ones(1, 5, dtype=torch.bool), seeded(0))
    first = torch.nn.functional.normalize(names[:3, 0].mean(0), dim=-1)
    assert torch.isclose(prompts.tokens[0], first, atol=1e-6).all(-1).sum() == 1
    with pytest.raises(ValueError, match='one token'):
        PromptSampler(synonyms='mean')(table(3), torch.ones(1, 5, dtype=torch.bool))


def test_words_of_a_phrase_stay_together() -> None:
    prompts = PromptSampler('positive_only')(table(3), torch.tensor([[False, True, False, True, False]]), seeded(1))
    assert prompts.tokens.shape == (1, 15, 3)
    found = prompts.tokens[0, :, 0].view(5, 3)
    assert bool((found == found[:, :1]).all())
    assert sorted(shown(prompts)) == [3, 6]  # each has one word: 3 % 3 + 1, 6 % 3 + 1


def test_tables_are_cut_into_groups_of_classes() -> None:
    part = table().chunk(1, 3)
    assert part.tokens[:, 0, 0].tolist() == [3.0, 4.0, 5.0] and part.class_index.tolist() == [0, 1, 1]
    assert part.num_classes == 2 and table().chunk(4, 9).num_classes == 1
    assert sum(len(table().chunk(i, i + 2)) for i in range(0, 5, 2)) == 8


def test_batches_of_unequal_prompts() -> None:
    one, two = table().chunk(0, 1).for_batch(1), table().chunk(1, 2).for_batch(2)
    both = PromptTokens.cat([one, two])
    assert len(both) == 3 and both.absent.sum(1).tolist() == [0, 2, 2]


@pytest.mark.parametrize('wrong', [dict(mode='some'), dict(synonyms='all'), dict(keep=(0.5, 0.2)), dict(keep=(0, 2))])
def test_impossible_settings_are_named(wrong) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        PromptSampler(**wrong)
