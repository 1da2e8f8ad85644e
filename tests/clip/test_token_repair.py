"""Tokens that stick out, and what stands in for them."""

import numpy as np
import pytest
import torch

from denseclip.clip import token_repair
from denseclip.clip.blocks import attention_weights
from denseclip.clip.token_repair import TokenRepair, local_outlier_factor, looks_at_patches, mend


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[2**24, 30], ids=['at once', 'row by row'])
def parts(request, monkeypatch):
    """Rows of patches x patches matrices in one part, and in many."""
    monkeypatch.setattr(token_repair, 'NUMBERS_AT_ONCE', request.param)


@pytest.mark.usefixtures('parts')
def test_the_outlier_factor_is_a_ratio_of_distances():
    tokens = random(2, 12, 5) + 40  # a common offset is usual, and must not cost digits
    found = local_outlier_factor(tokens, 4)
    for picture, factors in zip(tokens.double().numpy(), found, strict=True):
        far = ((picture[:, None] - picture[None]) ** 2).sum(-1)
        order = np.argsort(far, axis=1)
        last = far[np.arange(12), order[:, 4]]
        wanted = [np.mean([last[i] / last[j] for j in order[i, 1:5]]) for i in range(12)]
        np.testing.assert_allclose(factors.numpy(), wanted, rtol=1e-4)


@pytest.mark.parametrize('length', [1, 2, 9])
def test_small_and_flat_pictures_have_nothing_that_sticks_out(length):
    tokens = random(1, 1, 6).expand(2, length, 6)
    assert torch.equal(local_outlier_factor(tokens), torch.ones(2, length))
    assert not TokenRepair().find(tokens).any()


def test_one_token_far_from_all_others_is_found():
    tokens = random(2, 40, 8)
    tokens[0, 17] += 30
    tokens[1, 3] *= 20
    for how in (TokenRepair(share=0.02), TokenRepair(sign='norm', count=1)):
        found = how.find(tokens)
        assert found[0].nonzero().tolist() == [[17]] and found[1].nonzero().tolist() == [[3]]


@pytest.mark.usefixtures('parts')
def test_looks_are_the_attention_weights():
    attn = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    x = random(3, 10, 8)
    weights = attention_weights(attn, x).mean(dim=1)
    q, k = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (x @ attn.in_proj_weight.T).split(8, -1)[:2])
    of_class, of_itself = looks_at_patches(q, k)
    torch.testing.assert_close(of_class, weights[:, 0, 1:])
    torch.testing.assert_close(of_itself, weights.diagonal(dim1=1, dim2=2)[:, 1:])
    how = TokenRepair(sign='attention', count=3, factor=1.1)
    found = how.find(x[:, 1:], (of_class, of_itself))
    able = 1.1 * of_class > of_itself
    assert not (found & ~able).any()
    for row, ranks, allowed in zip(found, of_class, able, strict=True):
        assert int(row.sum()) == min(3, int(allowed.sum()))
        if (allowed & ~row).any():
            assert ranks[row].min() >= ranks[allowed & ~row].max()


def test_a_mended_token_is_the_mean_of_sound_neighbours():
    maps = random(1, 4, 5, 3)
    bad = torch.zeros(1, 4, 5, dtype=torch.bool)
    bad[0, 1, 1] = bad[0, 1, 2] = bad[0, 3, 4] = True
    found = mend(maps.flatten(1, 2), bad.flatten(1), (4, 5)).unflatten(1, (4, 5))
    near = [maps[0, y, x] for y in (0, 1, 2) for x in (0, 1, 2) if (y, x) not in ((1, 1), (1, 2))]
    torch.testing.assert_close(found[0, 1, 1], torch.stack(near).mean(0))
    torch.testing.assert_close(found[0, 3, 4], torch.stack([maps[0, 2, 3], maps[0, 2, 4], maps[0, 3, 3]]).mean(0))
    assert torch.equal(found[~bad], maps[~bad])
    assert torch.equal(mend(maps.flatten(1, 2), torch.ones(1, 20, dtype=torch.bool), (4, 5)), maps.flatten(1, 2))


def test_autocast_finds_the_same_tokens():
    tokens = random(1, 60, 8)
    with torch.autocast('cpu', torch.bfloat16):
        found = TokenRepair().find(tokens)
    assert torch.equal(found, TokenRepair().find(tokens)) and found.sum() == 3


@pytest.mark.parametrize('wrong', [dict(sign='size'), dict(count=0), dict(share=1.0), dict(neighbours=0)])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match='repair: '):
        TokenRepair(**wrong)
