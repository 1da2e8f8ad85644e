"""Attention that ends at the borders of regions, and what CorrCLIP reads beside it."""

from functools import partial

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import TINY_DINO, Quarters, tiny_open_vocab

from denseclip.clip.branches import middle_blocks
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.towers import DenseReadOut
from denseclip.core.placement import nearest
from denseclip.models.functional import region_scope
from denseclip.models.functional.region_scope import RegionMaps, RegionScope, merged_regions, without_empty
from denseclip.models.pixel_samples import head_of, passing
from denseclip.models.providers import ProposedRegions, RegionFiles
from denseclip.structures.mask_proposals import MaskProposals

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))


def pictures(n=1, height=72, width=128, seed=0):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_numbers_of_any_kind_become_planes_and_padding_is_its_own():
    numbers = torch.tensor([[70000, 70000, -5], [3, 3, -1]])
    maps = RegionMaps.of([numbers, torch.zeros(2, 3, dtype=torch.long)], [(0, 2, 0, 3), (0, 4, 0, 6)], (4, 8))
    assert maps.count == 3 and maps.numbers[0, :2, :3].tolist() == [[1, 1, -1], [0, 0, -1]]
    assert (maps.numbers[0, 2:] == 2).all() and (maps.numbers[1, :, :6] == 0).all()
    planes = maps.planes((4, 8), (4, 8))
    assert planes.shape == (2, 4, 32) and (planes.sum(dim=1) == 1).all()
    wider = maps.planes((6, 8), (6, 8))[:, 3].unflatten(1, (6, 8))
    assert wider[:, 4:].all()  # what a tower pads is padding, too
    views = maps.windows([(0, 2, 0, 4), (2, 4, 4, 8)])
    assert views.numbers.shape == (4, 2, 4) and torch.equal(views.numbers[1], maps.numbers[1, :2, :4])


def clusters(cosines, distance):
    """Smallest member of each one's cluster, by walking."""
    found = list(range(len(cosines)))
    for _ in found:
        for i in range(len(found)):
            found[i] = min(found[j] for j in range(len(found)) if cosines.max() - cosines[i, j] <= distance)
    return found


def test_regions_alike_are_merged_through_others():
    draw = np.random.default_rng(0)
    angles = draw.uniform(0, 6.28, 9)
    numbers = draw.integers(-1, 9, (1, 12, 10))
    features = np.zeros((1, 2, 12, 10))
    for k in range(-1, 9):
        features[0][:, numbers[0] == k] = np.array([[np.cos(angles[k])], [np.sin(angles[k])]])
    planes = RegionMaps(torch.from_numpy(numbers), 9).planes((12, 10), (12, 10))
    found = merged_regions(planes, torch.from_numpy(features).float(), 0.05)
    wanted = clusters(np.cos(angles[:, None] - angles), 0.05)
    assert 1 < len(set(wanted)) < 9
    assert torch.equal(found[:, 0], planes[:, 0])
    for k in range(9):
        members = [j for j in range(9) if wanted[j] == k]
        assert np.array_equal(found[0, 1 + k].numpy(), np.isin(numbers.reshape(-1), members))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_who_sees_whom(dtype):
    features = torch.randn(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(features.flatten(2), dim=1)
    logits = (unit.transpose(1, 2) @ unit).to(dtype)
    numbers = torch.randint(-1, 3, (2, 6, 6), generator=torch.Generator().manual_seed(1))
    planes = RegionMaps(numbers, 3).planes((6, 6), (6, 6))
    found, kept = RegionScope(merge=None)(logits, features, planes)
    flat = numbers.flatten(1)
    same = (flat[:, :, None] == flat[:, None]) & (flat >= 0)[:, None]
    free = (flat < 0)[:, :, None] | (flat < 0)[:, None]
    wanted = same | (free & (logits > logits.mean(dim=(1, 2), keepdim=True))) | torch.eye(36, dtype=torch.bool)
    assert torch.equal(found > float('-inf'), wanted) and torch.equal(found[wanted], logits[wanted])
    assert (kept.sum(dim=1) == 1).all()
    # The lowest number of a window counts as none, as released: only there do two of one region part.
    released, _ = RegionScope(merge=None, as_released=True)(logits, features, planes.clone())
    assert torch.equal(released, found)
    lifted = RegionMaps(numbers + 1, 4).planes((6, 6), (6, 6))
    assert torch.equal(RegionScope(merge=None, as_released=True)(logits, features, lifted)[0], found)


@torch.no_grad()
def test_regions_of_a_batch_of_windows_and_of_flipped_pictures():
    images, found = pictures(2), {}
    samples = [dict(ori_shape=(75, 130)), dict(ori_shape=(75, 130), flip=True, flip_direction='horizontal')]
    images[1] = images[0].flip(-1)
    for name, config in (('one', SLIDE), ('four', {**SLIDE, 'window_batch': 4}), ('whole', dict(mode='whole'))):
        model = tiny_open_vocab('corrclip', test_cfg={**config, 'keep_logits': True})
        together = model.predict(images, [SegDataSample(metainfo=s) for s in samples])
        alone = [model.predict(i[None], [SegDataSample(metainfo=s)])[0] for i, s in zip(images, samples, strict=True)]
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data, atol=1e-5, rtol=1e-4)
        found[name] = together[0].seg_logits.data
        assert model.in_view is None
        quarters = Quarters()(images[0], None, (75, 130), {})
        for sample in together:  # every region takes one label, in the orientation of the result
            labels = sample.pred_sem_seg.data[0]
            assert all(labels[quarters == k].unique().numel() == 1 for k in range(3))
    torch.testing.assert_close(found['one'], found['four'], atol=1e-5, rtol=1e-4)
    settings = dict(affinity=dict(dino=TINY_DINO, scope=None), regions=None, test_cfg=dict(SLIDE, keep_logits=True))
    free = tiny_open_vocab('corrclip', **settings).predict(images[:1], [SegDataSample(metainfo=samples[0])])[0]
    assert not torch.allclose(free.seg_logits.data, found['one'], atol=1e-4)


@torch.no_grad()
def test_half_precision_and_settings():
    model, images = tiny_open_vocab('corrclip', test_cfg=SLIDE), pictures()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert model.predict(images)[0].pred_sem_seg.data.shape == (1, 72, 128)
        model.keep_logits = True
        assert torch.isfinite(model.predict(images)[0].seg_logits.data).all()
    free = dict(affinity=dict(dino=TINY_DINO, scope=None), regions=None)
    plain = tiny_open_vocab('corrclip', **free, read_out=dict(branch=(), region_weight=0.0))
    beside = tiny_open_vocab('corrclip', **free, read_out=dict(branch=(-3,), branch_weight=0.5, region_weight=0.0))
    assert not torch.allclose(plain.dense_features(images), beside.dense_features(images))
    assert [len(middle_blocks(depth)) for depth in (12, 24, 32, 8)] == [5, 12, 28, 4]
    assert middle_blocks(12) == (5, 6, 7, 8, 9)


def test_what_is_refused():
    with pytest.raises(ValueError, match='needs regions'):
        tiny_open_vocab('corrclip', regions=None)
    with pytest.raises(ValueError, match='distance of cosines'):
        RegionScope(merge=3)
    with pytest.raises(ValueError, match='share an affinity'):
        DenseReadOut(branch=(-3,))
    with pytest.raises(ValueError, match='choose from corrclip'):
        DenseReadOut(attention='external', residual=False, ffn=False, branch='all')
    with pytest.raises(ValueError, match='of this tower of'):
        tiny_open_vocab('corrclip', read_out=dict(branch=(-99,)))
    with pytest.raises(ValueError, match='small, large, sure'):
        ProposedRegions(torch.nn.Identity(), first='any')


class TwoMasks(torch.nn.Module):
    """Overlapping masks; the smaller one is less sure."""

    seen = None

    def forward(self, images, metas):
        assert images.max() <= 255 and metas[0]['img_path'] == 'a.jpg'
        self.seen = tuple(images.shape[2:])
        masks = torch.full((1, 2, *images.shape[2:]), -12.0)
        masks[0, 0, :3], masks[0, 1, :2, :2] = 12.0, 12.0
        return MaskProposals(masks, scores=torch.tensor([[0.9, 0.2]]))


@pytest.mark.parametrize(
    ('options', 'corner'), [({}, 0), (dict(first='large'), 0), (dict(first='sure'), 0), (dict(least_score=0.5), 0)]
)
def test_masks_as_regions(options, corner):
    provider = ProposedRegions(TwoMasks(), **options)
    found, photo = (
        provider(torch.zeros(3, 4, 6), PreprocessSpec(), size, {'img_path': 'a.jpg'}) for size in ((4, 6), (400, 600))
    )
    assert provider.masks.seen == (4, 6) and torch.equal(photo, nearest(found, (400, 600)))  # one map grows, no masks
    assert found[0, 0] == corner and (found[3] == -1).all()
    assert (found[0, 0] == found[2, 5]) == bool(options)  # else the smaller mask has a region of its own


def test_regions_that_the_authors_publish(tmp_path):
    np.savez(tmp_path / 'a.npz', instance_mask=np.array([[0, 4], [4, 4]]))
    found = RegionFiles(tmp_path, '.npz', no_region=0)(torch.zeros(3, 2, 2), None, (2, 2), {'img_path': 'a.jpg'})
    assert found.tolist() == [[-1, 4], [4, 4]]
    np.savez(tmp_path / 'b.npz', masks=np.zeros((2, 2), int))
    with pytest.raises(ValueError, match='instance_mask'):
        RegionFiles(tmp_path, '.npz').read('b.jpg')


@torch.no_grad()
def test_many_regions_are_counted_per_window():
    planes = RegionMaps(torch.arange(-1, 63).view(1, 8, 8) // 2, 40).planes((8, 8), (8, 8))
    few = without_empty(torch.cat([planes, planes.flip(1)]))
    assert few.shape == (2, 34, 64) and torch.equal(few[0], planes[0, :34]) and few[1, 0].sum() == 0
    assert torch.equal(few.sum(dim=1), torch.cat([planes, planes.flip(1)]).sum(dim=1))


def test_regions_that_a_window_does_not_see_are_compared_with_none(monkeypatch):
    features = torch.randn(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = torch.zeros(1, 64, 64)
    planes = RegionMaps(torch.arange(64).view(1, 8, 8) // 4 * 50, 1000).planes((8, 8), (8, 8))
    wanted = without_empty(merged_regions(planes, features, 0.3))
    sizes = []

    def recorded(some, *args):
        sizes.append(some.shape[1])
        return merged_regions(some, *args)

    monkeypatch.setattr(region_scope, 'merged_regions', recorded)
    _, found = RegionScope(merge=0.3)(logits, features, planes)
    assert sizes == [17]
    assert torch.equal(found[:, : wanted.shape[1]], wanted) and not found[:, wanted.shape[1] :].any()


@torch.no_grad()
@pytest.mark.parametrize(
    ('name', 'said'), [('corrclip', 'affinity.scope'), ('cass', "post.presence.of='picture' needs the whole")]
)
def test_side_entrances_say_what_they_do_not_know(name, said):
    model, images = tiny_open_vocab(name, test_cfg=SLIDE), pictures(2)
    calls = [partial(model.slide_inference, images, [])]
    if name == 'corrclip':
        calls += [partial(f, images) for f in (model.extract_feat, model.encode_decode, model._forward)]
    for call in calls:
        with pytest.raises(ValueError, match=said):
            call()


@torch.no_grad()
@pytest.mark.parametrize('name', ['corrclip', 'cass', 'glaclip'])
def test_what_passes_a_head_is_what_labels_come_from(name):
    model, images = tiny_open_vocab(name, test_cfg=SLIDE), pictures(1, 64, 96)
    seen = []
    with head_of(model, lambda logits, *_: seen.append(logits) or logits):
        model.predict(images, [SegDataSample(metainfo=dict(ori_shape=(64, 96)))])
    windows = list(passing(model, images, SegDataSample(metainfo=dict(ori_shape=(64, 96))))[2])
    assert len(windows) == len(seen) == 2
    for window, logits in zip(windows, seen, strict=True):
        torch.testing.assert_close(window.logits, logits)


class Counted(Quarters):
    """Quarters that know how often they were asked for."""

    calls = 0

    def forward(self, *given):
        self.calls += 1
        return super().forward(*given)


@torch.no_grad()
@pytest.mark.parametrize(('name', 'looks'), [('corrclip', 1), ('naclip', 0)])
@pytest.mark.parametrize('mode', [SLIDE, dict(mode='whole')])
def test_regions_are_looked_for_once_and_only_where_they_are_used(name, looks, mode):
    provider, images = Counted(), pictures(2)
    model = tiny_open_vocab(name, test_cfg=mode, regions=provider)
    samples = [SegDataSample(metainfo=dict(ori_shape=(72, 128))) for _ in images]
    model.predict(images, samples)
    assert provider.calls == 2
    list(passing(model, images[:1], samples[0])[2])  # embeddings alone: regions count where the tower reads them
    assert provider.calls == 2 + looks


@pytest.mark.parametrize('write', [np.savez, np.savez_compressed])
def test_a_damaged_archive_of_regions_is_named(tmp_path, write):
    path = tmp_path / 'a.npz'
    write(path, instance_mask=np.random.default_rng(0).integers(0, 9, (40, 40)))
    content = path.read_bytes()
    for place in range(70, len(content) // 2, 31):  # inside the data, and where the compressed code begins
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x16]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"a\.npz' holds no region numbers"):
            RegionFiles(tmp_path, '.npz').read('a.jpg')
