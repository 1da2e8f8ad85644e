"""Attention of each head completed by another network's keys."""

import itertools

import pytest
import torch

from denseclip.clip import head_affinity, token_repair
from denseclip.clip.attention import Guide
from denseclip.clip.head_affinity import HeadAffinity
from denseclip.clip.presets import preset
from denseclip.clip.towers import DenseReadOut, build_image_tower, build_vit


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_pictures_rows_and_autocast_do_not_matter(monkeypatch):
    keys, own, values = random(2, 12, 3, 4), random(2, 3, 30, 6, seed=1), random(2, 3, 30, 6, seed=2)
    together = HeadAffinity(keys).average(own, values, (5, 6))
    alone = [HeadAffinity(keys[n : n + 1]).average(own[n : n + 1], values[n : n + 1], (5, 6)) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(alone))
    monkeypatch.setattr(token_repair, 'NUMBERS_AT_ONCE', 200)
    torch.testing.assert_close(HeadAffinity(keys).average(own, values, (5, 6)), together)
    with torch.autocast('cpu', torch.bfloat16):
        low = HeadAffinity(keys).average(own, values, (5, 6))
    torch.testing.assert_close(low, together)


def test_pairs_differ_most_in_sum():
    distance = random(4, 4).abs()
    found = head_affinity._farthest_pairs(distance)
    best = max(itertools.permutations(range(4)), key=lambda p: sum(float(distance[i, p[i]]) for i in range(4)))
    assert tuple(found.tolist()) == best


def test_a_matched_head_goes_where_its_pair_is():
    """With the other network's heads in another order, the same head of each pair is used."""
    own, values, keys = random(1, 3, 20, 6, seed=1), random(1, 3, 20, 6, seed=2), random(1, 12, 4, 5)
    keys = (keys.unflatten(1, (3, 4)) * torch.tensor([0.2, 1.0, 3.0])[None, :, None, None, None]).flatten(1, 2)
    keys = keys * torch.linspace(0.3, 3, 12)[None, :, None, None]
    order = torch.tensor([2, 0, 1])
    turned = keys.unflatten(1, (3, 4))[:, order].flatten(1, 2)
    one, other = (HeadAffinity(k, pairing='matched').average(own, values, (4, 5)) for k in (keys, turned))
    torch.testing.assert_close(one, other)
    same = [HeadAffinity(k, pairing='same').average(own, values, (4, 5)) for k in (keys, turned)]
    assert not torch.allclose(*same, atol=1e-3)


@pytest.mark.parametrize('size', [(1, 1), (1, 3), (2, 2), (3, 9)])
def test_any_grid_and_flat_pictures(size):
    count = size[0] * size[1]
    flat = torch.ones(1, 8, 2, 2), torch.ones(1, 2, count, 4), random(1, 2, count, 4)
    for keys, own, values in (flat, (random(1, 8, 3, 2), random(1, 2, count, 4), random(1, 2, count, 4))):
        found = HeadAffinity(keys).average(own, values, size)
        assert found.shape == values.shape and found.isfinite().all()
        assert found.amax() <= values.amax() + 1e-5  # means of the values


def test_refusals():
    with pytest.raises(ValueError, match='10 channels cannot be divided among CLIP.s 4 heads'):
        HeadAffinity(random(1, 10, 2, 2)).average(random(1, 4, 4, 3), random(1, 4, 4, 3), (2, 2))
    with pytest.raises(ValueError, match='pairing'):
        HeadAffinity(random(1, 8, 2, 2), pairing='any')
    with pytest.raises(ValueError, match='rank'):
        HeadAffinity(random(1, 8, 2, 2), rank=0)


def test_the_tower_keeps_its_own_grid():
    torch.manual_seed(0)
    visual = build_vit(image_size=32, patch_size=8, width=16, layers=2, heads=2, embed_dim=4)
    tower = build_image_tower(visual, DenseReadOut(pooled=False, **preset('cass').read_out)).eval()
    with torch.no_grad():
        out = tower(random(1, 3, 24, 48), Guide(affinity=HeadAffinity(random(1, 8, 5, 9))))
    assert out.dense.shape == (1, 4, 3, 6)
