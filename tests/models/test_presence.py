"""Names that are moved towards what the whole picture shows."""

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import tiny_open_vocab

from denseclip.models.functional import presence
from denseclip.models.functional.presence import Presence, likeliest_of_groups, name_groups

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=3)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_groups_are_of_near_names():
    base = torch.nn.functional.normalize(random(3, 8), dim=-1)
    names = torch.nn.functional.normalize(base[[0, 1, 2, 0, 1]] + 0.01 * random(5, 8, seed=1), dim=-1)
    groups = name_groups(names, 0.1)
    assert groups[0] == groups[3] and groups[1] == groups[4] and len(groups.unique()) == 3
    assert name_groups(names[:1], 0.1).tolist() == [0]
    best = likeliest_of_groups(torch.tensor([[0.1, 0.9, 0.3, 0.4, 0.2]]), groups)
    assert sorted(best[0].tolist()) == [1, 2, 3]


def test_nothing_moves_without_shares():
    dense, pooled, names = random(2, 8, 3, 4), random(2, 8), torch.nn.functional.normalize(random(5, 8), dim=-1)
    plain = torch.nn.functional.cosine_similarity(dense[:, None], names[None, :, :, None, None], dim=2)
    torch.testing.assert_close(Presence(weight=0.0, move=0.0).cosines(dense, pooled, names), plain)
    whole = Presence(weight=1.0, move=0.3).cosines(dense, pooled, names)
    assert torch.allclose(whole, whole[:, :, :1, :1].expand_as(whole), atol=1e-6)


@torch.no_grad()
def test_windows_know_the_whole_picture_and_batches_change_nothing():
    images = random(2, 3, 64, 128)
    samples = [SegDataSample(metainfo={'ori_shape': (64, 128)}) for _ in images]
    results = {}
    for of in ('picture', 'window'):
        shares = dict(weight=0.7, move=0.3, of=of)
        model = tiny_open_vocab('naclip', post=dict(presence=shares), test_cfg={**SLIDE, 'keep_logits': True})
        together = torch.stack([s.seg_logits.data for s in model.predict(images, samples)])
        alone = torch.stack([model.predict(i[None], samples[:1])[0].seg_logits.data for i in images])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        assert model._of_picture is None
        results[of] = together
    assert not torch.allclose(*results.values(), atol=1e-4)


@pytest.mark.parametrize('wrong', [dict(of='batch'), dict(weight=2.0), dict(near=0)])
def test_wrong_settings_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match='presence: '):
        tiny_open_vocab('naclip', post=dict(presence=wrong))


def test_other_towers_are_refused_at_once():
    with pytest.raises(ValueError, match="CLIP's own transformers, not for ResNetTower"):
        tiny_open_vocab('maskclip', model='RN50', post=dict(presence={}))


@torch.no_grad()
def test_names_are_grouped_once_per_vocabulary(monkeypatch):
    calls = []
    monkeypatch.setattr(presence, 'name_groups', lambda *args: calls.append(args) or name_groups(*args))
    model = tiny_open_vocab('cass', test_cfg=SLIDE)
    for _ in range(2):
        model.predict(random(1, 3, 64, 160))
    assert len(calls) == 1
    model.set_vocabulary(['cat', 'dog'])
    model.predict(random(1, 3, 64, 64))
    assert len(calls) == 2


def test_the_likeliest_of_each_group_is_that_of_a_mask():
    scores, groups = random(3, 40), torch.arange(40) * 7 % 40 % 6
    masked = scores[:, None].masked_fill(groups != torch.arange(6)[:, None], float('-inf'))
    assert torch.equal(likeliest_of_groups(scores, groups), masked.argmax(dim=2))
