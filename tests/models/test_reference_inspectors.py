"""Good pictures and batches as judges: memory, subspace, mutual scores, order, self-exclusion, few pictures."""

import pytest
import torch
from bright_spots import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import MODELS

from denseclip.models.anomaly.references import _own_places
from denseclip.models.functional.mutual_scores import interval_mean, jump_limit, peer_distances, without_accomplices
from denseclip.models.functional.patch_memory import PatchMemory, greedy_coreset, nearest_distances
from denseclip.models.functional.subspace import PatchMoments

DINO = 'local-dir:checkpoints/miniworld_dino'
TRUNK = dict(type='DINOTower', model_name=DINO, pretrained=DINO)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts(count, seed=0, spots=(), size=64):
    """Stripes with noise; those in ``spots`` have the same bright block somewhere."""
    wave = torch.sin(torch.arange(size) / 3)[None, None].expand(3, size, size)
    images = [wave + 0.1 * noise(3, size, size, seed=seed + k) for k in range(count)]
    for k in spots:
        images[k][:, 20:36, 12 + k : 28 + k] = 3.0
    return images


def model(kind, **options):
    return MODELS.build(dict(type=kind, trunk=TRUNK, image_size=64, **options)).eval()


def test_the_subspace_keeps_what_it_is_asked_to():
    scale = torch.tensor([3.0, 2.0, 1.0, 0.01, 0.01])
    patches = noise(500, 5) * scale + 4
    subspace = PatchMoments.of(patches).subspace(0.99)
    assert subspace.directions.shape == (5, 3)
    inside = subspace.mean.float() + noise(7, 3, seed=1) @ subspace.directions.float().T
    assert subspace.residual(inside).max() < 1e-5
    away = inside + 2 * torch.eye(5)[4]
    assert torch.allclose(subspace.residual(away), torch.full((7,), 2.0), atol=0.01)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 99))
def test_moments_add_up_and_are_taken_away(count, width, seed):
    first, second = noise(count, width, seed=seed), noise(count + 3, width, seed=seed + 1)
    both = PatchMoments.of(torch.cat([first, second]))
    left = (PatchMoments.of(first) + PatchMoments.of(second)) - PatchMoments.of(second)
    assert both.count == 2 * count + 3 and left.count == count
    assert torch.allclose(left.second, PatchMoments.of(first).second, atol=1e-9)
    for moments in (both, left):
        subspace = moments.subspace(0.99)
        assert torch.isfinite(subspace.residual(second)).all()


def test_moments_of_equal_patches_give_no_nan():
    subspace = PatchMoments.of(torch.ones(9, 4)).subspace()
    assert subspace.residual(torch.ones(2, 4)).max() < 1e-6
    with pytest.raises(ValueError, match='at least two patches'):
        PatchMoments.of(torch.ones(1, 4)).subspace()


def test_distances_by_chunks_are_plain_distances(monkeypatch):
    patches, memory = noise(50, 6), noise(30, 6, seed=1)
    plain = torch.cdist(patches, memory).amin(1)
    monkeypatch.setattr('denseclip.models.functional.patch_memory._CHUNK', 70)
    assert torch.allclose(nearest_distances(patches, memory), plain, atol=1e-5)
    allowed = torch.arange(30) < 3
    assert torch.allclose(
        nearest_distances(patches, memory, allowed), torch.cdist(patches, memory[:3]).amin(1), atol=1e-5
    )
    with pytest.raises(ValueError, match='no patch'):
        nearest_distances(patches, memory, allowed & False)


def test_a_coreset_covers_every_cluster():
    centres = 50 * noise(12, 8)
    patches = (centres[:, None] + 0.1 * noise(12, 40, 8, seed=1)).flatten(0, 1)
    kept = greedy_coreset(patches, 12)
    assert sorted((kept // 40).tolist()) == list(range(12))
    assert greedy_coreset(patches, 1000).tolist() == list(range(480))


def test_a_memory_is_bounded_and_still_covers():
    memory = PatchMemory(capacity=50)
    everything = [noise(60, 8, seed=seed) for seed in range(20)]
    for owner, patches in enumerate(everything):
        memory.add(patches, owner)
        assert len(memory) <= 100
    assert memory.reduced
    far = memory.distances(100 + noise(5, 8))
    near = memory.distances(torch.cat(everything))
    assert near.max() < far.min()


def test_a_patch_with_a_twin_in_most_pictures_is_usual():
    own = torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    peers = [torch.tensor([[0.0, 0.1], [5.0, 5.0]])] * 8
    scores = interval_mean(peer_distances(own, peers))
    assert scores[0] < 0.2 < 5 < scores[1]
    assert torch.isfinite(interval_mean(peer_distances(own, peers[:1]))).all()
    with pytest.raises(ValueError, match='at least one other'):
        interval_mean(peer_distances(own, []))


def test_pictures_with_the_same_defect_do_not_vouch_for_one_another():
    usual = 1 + 0.05 * noise(200, 20).abs()
    shared = usual[:5].clone()
    shared[:, :8] = 0.05  # eight of twenty pictures have the same defect
    shared[:, 8:] = 4.0
    distances = torch.cat([usual, shared])
    limit = jump_limit(distances.sort(dim=1).values)
    guarded = interval_mean(without_accomplices(distances, limit))
    plain = interval_mean(distances)
    assert plain[200:].max() < plain[:200].min(), 'without the guard the defect looks usual'
    assert guarded[200:].min() > 3 and torch.allclose(guarded[:200], plain[:200])


def test_what_most_pictures_share_is_no_defect():
    distances = torch.full((30, 10), 1.0) + 0.01 * noise(30, 10).abs()
    distances[0, :7], distances[0, 7:] = 0.05, 4.0
    guarded = without_accomplices(distances, jump_limit(distances.sort(dim=1).values))
    assert interval_mean(guarded)[0] < 0.1


@pytest.mark.parametrize('kind', ['ReferenceInspector', 'BatchInspector'])
def test_a_spot_stands_out_whatever_the_order(kind):
    images = parts(8, spots=[2])
    good = images if kind == 'BatchInspector' else parts(5, seed=50)
    first, second = model(kind), model(kind)
    first.set_references(good)
    second.set_references(good[::-1])
    found = [first.predict(image[None])[0] for image in images]
    again = [second.predict(image[None])[0] for image in images]
    assert max(range(8), key=lambda k: found[k].pred_score) == 2
    spot = found[2].anomaly_map.data[0]
    assert spot[22:34, 16:28].mean() > 1.2 * spot[:, 44:].mean() and spot.shape == (64, 64)
    for one, other in zip(found, again, strict=True):
        assert one.pred_score == other.pred_score and torch.equal(one.anomaly_map.data, other.anomaly_map.data)


def test_a_reference_does_not_vouch_for_itself():
    good = parts(4)
    good[1][:, 20:36, 12:28] = 3.0
    judge = model('ReferenceInspector')
    judge.set_references(good)
    own = judge.predict(good[1][None])[0].pred_score
    judge.set_references([image for k, image in enumerate(good) if k != 1])
    assert own == pytest.approx(judge.predict(good[1][None])[0].pred_score, rel=1e-4)
    judge.set_references([good[1]])
    assert judge.predict(good[1][None])[0].pred_score < own / 5  # there is no other


def test_a_reference_is_left_out_only_of_others_and_of_a_whole_memory():
    good = parts(4)
    judge = model('ReferenceInspector')
    judge.set_references(good)
    assert judge.leaves_out and judge.holds(good[0]) and not judge.holds(parts(1, seed=9)[0])
    judge.set_references([good[0], good[0].clone()])
    assert judge.references == 1 and not judge.leaves_out
    small = model('ReferenceInspector', capacity=20)
    small.set_references(good)
    assert small.references == 4 and small.memory.reduced and not small.leaves_out


def test_own_places_by_chunks_are_plain_distances_of_places_apart(monkeypatch):
    patches, grid = noise(30, 4), (5, 6)
    plain = [
        min(
            (patches[k] - patches[other]).norm()
            for other in range(30)
            if max(abs(k // 6 - other // 6), abs(k % 6 - other % 6)) > 1
        )
        for k in range(30)
    ]
    for chunk in (2**22, 70, 1):
        monkeypatch.setattr('denseclip.models.anomaly.references._CHUNK', chunk)
        assert torch.allclose(_own_places(patches, grid), torch.stack(plain), atol=1e-5)
    assert _own_places(patches[:4], (2, 2)).tolist() == [0] * 4  # all are neighbours


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_a_few_pictures_give_numbers(count):
    images = parts(count, spots=[0])
    judge = model('BatchInspector')
    judge.set_references(images)
    found = [judge.predict(image[None])[0] for image in images]
    assert all(torch.isfinite(sample.anomaly_map.data).all() for sample in found)
    spot = found[0].anomaly_map.data[0]
    if count > 1:
        assert spot[22:34, 14:26].mean() > spot[:, 44:].mean()


def test_pictures_of_other_shapes_and_without_references():
    judge = model('ReferenceInspector', turns=True)
    with pytest.raises(ValueError, match='set_references'):
        judge.predict(parts(1)[0][None])
    judge.set_references([parts(1, size=64)[0][:, :32], parts(1, seed=3)[0]])
    assert judge.predict(parts(1, seed=9)[0][None, :, :48])[0].anomaly_map.shape == (48, 64)
    assert judge.input_shape(100, 100) == (64, 64) and judge.input_shape(10, 4000) == (24, 184)
    with pytest.raises(ValueError, match='good picture'):
        judge.set_references([])
    with pytest.raises(ValueError, match='name'):
        judge.set_object(' ')
    with pytest.raises(ValueError, match='no patches to compare'):
        MODELS.build(dict(type='ReferenceInspector', trunk=CONFIG['model']))
