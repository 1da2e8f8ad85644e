"""FOUND's background seed."""

import torch

from denseclip.models.functional.found_seed import background_seed, head_weights


def scene(batch: int = 3, heads: int = 2, grid: tuple[int, int] = (4, 5)):
    torch.manual_seed(0)
    keys = torch.randn(batch, heads * 6, *grid)
    attention = torch.rand(batch, heads, grid[0] * grid[1]).softmax(-1)
    return keys, attention


def test_a_head_that_looks_at_few_places_counts_more():
    attention = torch.full((1, 2, 10), 0.05)
    attention[0, 0, 0] = 0.5  # one place above the mean of the picture
    attention[0, 1, :4] = 0.4  # four of them
    sharp, wide = head_weights(attention)[0]
    assert sharp > wide > 0


def test_places_alike_the_least_attended_one_are_background():
    torch.manual_seed(0)
    ground, thing = torch.randn(12), torch.randn(12)
    keys = torch.stack([ground] * 6 + [thing] * 4, 1).view(1, 12, 2, 5)
    attention = torch.cat([torch.full((1, 2, 6), 0.01), torch.full((1, 2, 4), 0.2)], 2)
    attention[0, :, 0] = 0.005
    background = background_seed(keys, attention, heads=2, threshold=0.9)
    assert background.flatten().tolist() == [True] * 6 + [False] * 4


def test_a_picture_gets_the_same_seed_in_any_batch():
    keys, attention = scene()
    together = background_seed(keys, attention, heads=2)
    for i in range(3):
        assert torch.equal(together[i : i + 1], background_seed(keys[i : i + 1], attention[i : i + 1], heads=2))
