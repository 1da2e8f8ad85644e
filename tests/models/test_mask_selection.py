"""Tiny masks and near-duplicates."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.mask_selection import mask_overlaps, representatives


def by_hand(masks, min_area, max_overlap, scores):
    """Non-maximum suppression, mask after mask."""
    order = sorted(range(len(masks)), key=lambda i: -scores[i])
    overlap, kept, result = mask_overlaps(masks), [], [-1] * len(masks)
    for i in order:
        if masks[i].float().mean() < min_area:
            continue
        near = [j for j in kept if overlap[i, j] > max_overlap]
        result[i] = near[0] if near else i
        if not near:
            kept.append(i)
    return result


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 12), st.sampled_from([0.0, 0.2]), st.sampled_from([0.3, 0.6, 0.95]))
def test_equal_to_going_through_them(seed, count, min_area, max_overlap):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, 6, 6, generator=generator) < torch.rand(count, 1, 1, generator=generator) * 1.3
    scores = torch.randperm(count, generator=generator).float()
    found = representatives(masks, min_area=min_area, max_overlap=max_overlap, scores=scores)
    assert found.tolist() == by_hand(masks, min_area, max_overlap, scores.tolist())


def test_nothing_is_dropped_by_default():
    assert representatives(torch.rand(5, 4, 4)).tolist() == [0, 1, 2, 3, 4]


def test_shares_are_cut_at_the_threshold():
    masks = torch.full((2, 300, 300), 0.4)
    masks[1, 150:] = 0.2
    assert representatives(masks, min_area=0.6, threshold=0.3).tolist() == [0, -1]
    assert representatives(masks, max_overlap=0.4, threshold=0.1).tolist() == [0, 0]
