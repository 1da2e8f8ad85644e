"""Merges by tiles are those of whole planes, but where two classes or queries are equal within rounding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.core.placement import Placement
from denseclip.models.functional import mask_inference, mask_tiles, tiled_masks
from denseclip.models.functional.mask_inference import (
    instance_predictions,
    panoptic_segments,
    semantic_labels,
    semantic_scores,
)
from denseclip.models.functional.mask_tiles import can_tile
from denseclip.models.functional.tiled_masks import compete_by_tiles, instances_by_tiles, labels_by_tiles

GEOMETRIES = {
    'as it is': Placement(),
    'enlarged': Placement((96, 128)),
    'cut and resized': Placement((96, 128), (0, 90, 3, 120), (71, 133)),
    'turned': Placement((96, 128), (0, 90, 0, 120), (110, 90), 'diagonal'),
    'mirrored': Placement(None, None, (100, 140), 'horizontal'),
}
BUDGET = 2**26


def queries(seed: int, kind: str = 'blobs', num: int = 40, classes: int = 6, size=(24, 32)):
    """Masks that are saturated nearly everywhere, as a trained model's, or noise; peaked or even probabilities."""
    generator = torch.Generator().manual_seed(seed)
    if kind == 'blobs':
        coarse = torch.randn(1, num, 4, 5, generator=generator)
        masks = (F.interpolate(coarse, size=size, mode='bicubic')[0] - 1.0) * 12
    else:
        masks = torch.randn(num, *size, generator=generator) * 3
    peaked = 6.0 if kind == 'blobs' else 1.0
    return (torch.randn(num, classes, generator=generator) * peaked).softmax(dim=-1), masks


def full_scores(probs, masks, geometry, merge_first, are_logits=True):
    make = semantic_scores if are_logits else lambda p, m: torch.einsum('qk,qhw->khw', p, m)
    if merge_first:
        return geometry.finish(make(probs, geometry.enlarge(masks)))
    return make(probs, geometry.apply(masks))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(['blobs', 'noise']),
    name=st.sampled_from(sorted(GEOMETRIES)),
    merge_first=st.booleans(),
    are_logits=st.booleans(),
    budget=st.sampled_from([1, BUDGET]),
)
def test_labels_are_the_best_of_all_scores(seed, kind, name, merge_first, are_logits, budget):
    probs, masks = queries(seed, kind)
    masks = masks if are_logits else masks.sigmoid()
    scores = full_scores(probs, masks, GEOMETRIES[name], merge_first, are_logits)
    labels = labels_by_tiles(probs, masks, GEOMETRIES[name], merge_first, are_logits, budget)
    assert labels.shape == scores.shape[1:]
    chosen = scores.gather(0, labels[None].long())[0]
    torch.testing.assert_close(chosen, scores.amax(0), atol=2e-5, rtol=2e-5)
    assert (labels == scores.argmax(0)).float().mean() > 0.999


def test_equal_classes_give_the_first_one():
    probs, masks = queries(0)
    doubled = torch.cat([probs, probs], dim=1)
    for merge_first in (False, True):
        labels = labels_by_tiles(doubled, masks, GEOMETRIES['enlarged'], merge_first, True, BUDGET)
        assert int(labels.max()) < probs.shape[1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(['blobs', 'noise']), name=st.sampled_from(sorted(GEOMETRIES)))
def test_panoptic_and_instances_as_by_whole_planes(seed, kind, name):
    probs, masks = queries(seed, kind)
    geometry, scores = GEOMETRIES[name], probs.amax(dim=1)
    winner, confident, areas = compete_by_tiles(scores, masks, geometry, BUDGET)
    planes = geometry.apply(masks)
    value = scores[:, None, None] * planes.sigmoid()
    chosen = value.gather(0, winner[None])[0]
    torch.testing.assert_close(chosen, value.amax(0), atol=1e-6, rtol=1e-5)
    own = planes.gather(0, winner[None])[0]
    assert bool(((own >= 0) == confident)[own.abs() > 1e-4].all())
    unsure = (planes.abs() < 1e-4).flatten(1).sum(1)
    assert bool(((areas - (planes >= 0).flatten(1).sum(1)).abs() <= unsure).all())
    found, quality = instances_by_tiles(masks, geometry, BUDGET)
    assert bool(((planes > 0) == found)[planes.abs() > 1e-4].all())
    inside = planes > 0
    mean = (planes.sigmoid() * inside).flatten(1).sum(1) / (inside.flatten(1).sum(1) + 1e-6)
    torch.testing.assert_close(quality, mean, atol=1e-3, rtol=1e-3)


def test_masks_that_cannot_matter_are_not_resized(monkeypatch):
    """Objects cover a part of the picture each: in most tiles few masks are neither empty nor full."""
    probs, _ = queries(3, num=200)
    centres, (y, x) = (
        torch.rand(200, 2, 1, 1),
        torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 128), indexing='ij'),
    )
    masks = 200 * (0.15 - torch.hypot(y - centres[:, 0], x - centres[:, 1]))
    taken, make = [], mask_tiles.Tile.planes
    monkeypatch.setattr(mask_tiles.Tile, 'planes', lambda self, which=None: taken.append(which) or make(self, which))
    geometry = Placement((384, 512))
    labels_by_tiles(probs, masks, geometry, False, True, BUDGET)
    tiles = (384 // 32) * (512 // 64)
    resized = sum(200 if which is None else which.numel() for which in taken)
    assert resized < 0.6 * 200 * tiles


@pytest.mark.parametrize('merge', ['semantic', 'panoptic', 'instance'])
def test_the_merges_take_tiles_for_big_pictures(merge, monkeypatch):
    probs, masks = queries(1)
    things, geometry = torch.ones(6, dtype=torch.bool), GEOMETRIES['cut and resized']

    def result():
        if merge == 'semantic':
            return semantic_labels(probs, masks, geometry, merge_first=False)
        if merge == 'panoptic':
            return panoptic_segments(probs, masks, things, geometry, score_threshold=0.1).ids
        return instance_predictions(probs, masks, geometry).masks

    plain = result()
    monkeypatch.setattr(mask_tiles, 'LEAST_NUMBERS', 0)
    assert can_tile(masks, geometry)
    monkeypatch.setattr(mask_inference, '_chunks', None)  # whole planes cannot be made any more
    assert (result() == plain).float().mean() > 0.999


def test_other_masks_go_the_other_way(monkeypatch):
    monkeypatch.setattr(mask_tiles, 'LEAST_NUMBERS', 0)
    masks = torch.randn(4, 8, 8)
    assert can_tile(masks, Placement())
    assert not can_tile(masks.half(), Placement())
    assert not can_tile(masks.to('meta'), Placement())
    assert not can_tile(masks.clone().requires_grad_(), Placement())
    assert not can_tile(torch.full((4, 8, 8), torch.inf), Placement())
    assert not can_tile(masks[:0], Placement())
    assert not can_tile(masks, Placement(out=(5000, 10)))


def test_negative_numbers_have_bounds_too():
    """Probabilities given as -1 leave a class out; bounds must hold for them."""
    probs, masks = queries(5)
    probs = probs.clone()
    probs[:, 2] = -1.0
    scores = full_scores(probs, masks, GEOMETRIES['enlarged'], False)
    labels = labels_by_tiles(probs, masks, GEOMETRIES['enlarged'], False, True, BUDGET)
    assert not bool((labels == 2).any())
    assert (labels == scores.argmax(0)).float().mean() > 0.999
    assert tiled_masks._bounds(probs, torch.zeros(40), torch.ones(40))[0][2] == 0
