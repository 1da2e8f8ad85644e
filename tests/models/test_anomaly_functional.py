"""Tiles, windows, views and losses as tensor functions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.core.tiles import tile_starts
from denseclip.models.functional.anomaly_losses import probability_dice_loss, probability_focal_loss
from denseclip.models.functional.anomaly_scores import (
    abnormal_probability,
    adaptation_loss,
    cut_tiles,
    smooth,
    stitch_tiles,
    upsample,
)
from denseclip.models.functional.anomaly_views import COUNT, picture_views
from denseclip.models.functional.anomaly_windows import (
    harmonic_mean,
    harmonic_over_windows,
    visual_association,
    window_patches,
)


@given(st.integers(1, 200), st.integers(1, 50))
def test_tiles_cover_everything_with_the_fewest(length, side):
    starts = tile_starts(length, side)
    assert starts == sorted(set(starts)) and starts[0] == 0
    assert len(starts) == max(1, -(-length // side))
    assert starts[-1] + side == max(length, side)
    assert all(b - a <= side for a, b in zip(starts, starts[1:], strict=False))


@settings(max_examples=30)
@given(st.integers(3, 40), st.integers(3, 40), st.integers(3, 12))
def test_stitching_undoes_cutting(height, width, side):
    image = torch.rand(1, 2, height, width)
    tiles = cut_tiles(image, side)
    assert torch.allclose(stitch_tiles(tiles, (height, width), side), image, atol=1e-6)


def test_overlaps_are_averaged():
    maps = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    row = stitch_tiles(maps, (4, 6), 4)[0, 0, 0]
    assert row.tolist() == [0, 0, 0.5, 0.5, 1, 1]


def test_the_abnormal_share_grows_with_its_cosine():
    states = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [-1.0, 0.2]]), dim=-1)
    features = torch.tensor([[5.0, 0.0], [0.0, 3.0], [-0.1, 0.0]])
    shares = abnormal_probability(features, states)
    assert shares[0] < shares[1] < shares[2] and shares[1] == 0.5
    assert abnormal_probability(features, states, 0.07)[2] > shares[2]


def test_smoothing_keeps_constants_and_spreads_peaks():
    flat = torch.full((1, 1, 4, 5), 0.3)
    assert torch.allclose(smooth(flat), flat)
    peak = torch.zeros(1, 1, 5, 5)
    peak[..., 2, 2] = 9
    assert smooth(peak)[0, 0, 1:4, 1:4].tolist() == [[1.0] * 3] * 3
    assert upsample(peak, (9, 9))[0, 0, 4, 4] == 9  # corner patches lie on the corners


def test_views_of_a_batch_are_those_of_its_pictures():
    images = torch.randn(3, 3, 12, 16)
    views = picture_views(images)
    assert views.shape == (3, COUNT, 3, 12, 16) and COUNT == 22
    assert torch.equal(views[:, 0], images) and torch.equal(views[:, 17], images.flip(-1))
    assert torch.allclose(views[1], picture_views(images[1:2])[0], atol=1e-6)
    assert torch.equal(picture_views(images, original=False), views[:, 1:])


def test_quarter_turns_of_a_square_are_exact_turns():
    images = torch.randn(1, 3, 9, 9)
    views = picture_views(images)
    for turns in (1, 2, 3):
        assert torch.allclose(views[:, 18 + turns], images.rot90(turns, (2, 3)), atol=1e-4)


def test_adaptation_loss_wants_sure_normal_places_and_abnormal_noise():
    sure = torch.tensor([[9.0, -9.0]])
    assert adaptation_loss(sure, -sure) < adaptation_loss(sure, sure)
    assert adaptation_loss(sure, -sure) < adaptation_loss(0 * sure, -sure)


def plain_harmonic(scores, grid, side):
    """Patch by patch, as the formula says."""
    windows = window_patches(grid, side)
    out = torch.empty(len(scores), grid[0] * grid[1])
    for patch in range(out.shape[1]):
        holding = (windows == patch).any(dim=0)
        out[:, patch] = holding.sum() / (1 / scores[:, holding]).sum(dim=1)
    return out.unflatten(1, grid)


@pytest.mark.parametrize(('grid', 'side'), [((5, 5), 2), ((3, 6), 3), ((4, 2), 1)])
def test_harmonic_over_windows(grid, side):
    count = window_patches(grid, side).shape[1]
    scores = torch.rand(2, count) + 0.1
    assert torch.allclose(harmonic_over_windows(scores, grid, side), plain_harmonic(scores, grid, side), atol=1e-6)


def test_a_window_with_score_zero_pulls_its_patches_to_zero():
    scores = torch.ones(1, 4)
    scores[0, 0] = 0
    out = harmonic_over_windows(scores, (3, 3), 2)
    assert out[0, 0, 0] == 0 and out[0, 2, 2] == 1 and torch.isfinite(out).all()
    assert harmonic_mean([torch.tensor(0.0), torch.tensor(1.0)]) == 0


def test_windows_larger_than_the_grid_are_refused():
    with pytest.raises(ValueError, match='no window of 4x4'):
        window_patches((3, 9), 4)


def test_association_is_zero_for_known_and_one_for_opposite():
    known = torch.randn(2, 5, 4)
    assert torch.allclose(visual_association(3 * known, known), torch.zeros(2, 5), atol=1e-6)
    one = torch.tensor([[[1.0, 0.0]]])
    assert visual_association(-one, one) == 1


def test_losses_fall_towards_the_mask():
    labels = torch.zeros(2, 4, 4)
    labels[0, :2] = 1
    right = torch.stack([1 - labels, labels], dim=1) * 0.98 + 0.01
    wrong, unsure = 1 - right, torch.full_like(right, 0.5)
    for loss in (probability_focal_loss, lambda p, y: probability_dice_loss(p[:, 1], y)):
        assert loss(right, labels) < loss(unsure, labels) < loss(wrong, labels)
        assert torch.isfinite(loss(torch.stack([1 - labels, labels], dim=1), labels))
