"""Windows that know of each other: the last block over all of them, and what is counted where they overlap."""

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import tiny_open_vocab

from denseclip.clip import token_repair
from denseclip.clip.attention import gaussian_bias
from denseclip.clip.deep_prompts import CoupledPrompts
from denseclip.clip.errors import NoReadOutError
from denseclip.clip.towers.joined import JoinedWindows, check_joinable
from denseclip.core.placement import slide_boxes
from denseclip.evaluation import WindowSeams
from denseclip.export.capabilities import capability
from denseclip.models.functional.window_seams import window_disagreement
from denseclip.models.segmentors.whole_picture import WindowJoin

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=3, keep_logits=True)


def pictures(*size, n=1, seed=0):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def samples(images):
    return [SegDataSample(metainfo={'ori_shape': images.shape[2:]}) for _ in images]


@torch.no_grad()
def scores(model, images):
    return torch.stack([s.seg_logits.data for s in model.predict(images, samples(images))])


@pytest.mark.parametrize('name', ['sclip', 'clearclip'])
@torch.no_grad()
def test_the_last_block_is_the_ordinary_one_on_all_patches(name):
    """Against the block's own attention, written out, over the patches of both windows side by side."""
    model = tiny_open_vocab(name, join={})
    tower, block = model.tower, model.tower.visual.transformer.resblocks[-1]
    out = tower.before_last(pictures(64, 64, n=2))
    joined = JoinedWindows(tower, out.tokens, out.grid, [(0, 0), (0, 4)])
    x = out.tokens[:, 1:].flatten(0, 1)[None]
    q, k, v = (
        t.unflatten(-1, (4, 8)).transpose(1, 2)
        for t in (block.ln_1(x) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, -1)
    )
    sides = {'sclip': [q, k], 'clearclip': [q]}[name]
    heads = sum((t @ t.transpose(-1, -2) * 8**-0.5).softmax(-1) @ v for t in sides)
    wanted = block.attn.out_proj(heads.transpose(1, 2).flatten(2))
    if name == 'sclip':
        wanted = x + wanted
        wanted = wanted + block.mlp(block.ln_2(wanted))
    wanted = tower.project(tower.after_blocks(wanted)).unflatten(1, (2, -1))[0]
    for n in range(2):
        torch.testing.assert_close(joined.dense(n, [0, 1]).flatten(2)[0].T, wanted[n], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_nearness_goes_over_the_edges_of_windows():
    model = tiny_open_vocab('naclip', join={})
    out = model.tower.before_last(pictures(32, 48, n=2))
    joined = JoinedWindows(model.tower, out.tokens, out.grid, [(0, 0), (0, 3)])  # side by side
    whole = gaussian_bias((2, 6), 5.0, special=0).unflatten(0, (2, 6)).unflatten(2, (2, 6))
    for n, mine in enumerate((slice(0, 3), slice(3, 6))):
        parts = [whole[:, mine, :, theirs].flatten(2).flatten(0, 1) for theirs in (slice(0, 3), slice(3, 6))]
        torch.testing.assert_close(joined._nearness(n, [0, 1], 5.0), torch.cat(parts, dim=1))


@torch.no_grad()
def test_stages_after_the_last_block_change_no_tokens_before_it():
    tower = tiny_open_vocab('naclip', join={}).tower
    wanted = tower.before_last(pictures(32, 48)).tokens
    staged = tiny_open_vocab('naclip', join={}, read_out=dict(out_indices=(10,))).tower
    assert torch.equal(staged.before_last(pictures(32, 48)).tokens, wanted)


@pytest.mark.parametrize('name', ['naclip', 'glaclip'])
@torch.no_grad()
def test_batches_and_rows_change_nothing_and_other_windows_do(name, monkeypatch):
    images = pictures(72, 128, n=2)
    model = tiny_open_vocab(name, join={}, test_cfg=SLIDE)
    together = scores(model, images)
    torch.testing.assert_close(together, torch.cat([scores(model, i[None]) for i in images]), atol=1e-5, rtol=1e-4)
    model.test_cfg['window_batch'] = 1
    monkeypatch.setattr(token_repair, 'NUMBERS_AT_ONCE', 500)
    torch.testing.assert_close(scores(model, images), together, atol=1e-5, rtol=1e-4)
    alone = tiny_open_vocab(name, join=dict(nearest=1), test_cfg=SLIDE)
    assert not torch.allclose(scores(alone, images), together, atol=1e-4)
    changed = images.clone()
    changed[..., -16:] += 3.0  # far from the first window, which sees it all the same
    left = (..., slice(0, 48), slice(0, 32))
    assert not torch.allclose(scores(model, changed)[left], together[left], atol=1e-4)
    torch.testing.assert_close(scores(alone, changed)[left], scores(alone, images)[left], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('size', [(1, 1), (17, 90), (50, 33)])
def test_pictures_of_any_size(size):
    for test_cfg in (SLIDE, dict(mode='whole', keep_logits=True)):
        model = tiny_open_vocab('glaclip', test_cfg=test_cfg)
        found = scores(model, pictures(*size))
        assert found.shape[2:] == size and found.isfinite().all()


def test_a_window_looks_at_the_nearest():
    boxes = slide_boxes((64, 256), (64, 64), (32, 32))
    seen = WindowJoin(nearest=3).seen(boxes)
    assert seen == [[0, 1, 2], *[[n - 1, n, n + 1] for n in range(1, 6)], [4, 5, 6]]
    assert WindowJoin().seen(boxes) == [list(range(7))] * 7


def test_refusals():
    for name in ('maskclip', 'pearl', 'scclip', 'gem'):
        with pytest.raises(NoReadOutError, match='join knows'):
            tiny_open_vocab(name, join={})
    with pytest.raises(NoReadOutError, match='take a preset'):
        tiny_open_vocab('clip', join={})
    with pytest.raises(NoReadOutError, match='not of a ResNetTower'):
        tiny_open_vocab('maskclip', model='RN50', join={})
    prompted = tiny_open_vocab('naclip').tower
    prompted.take_prompts(CoupledPrompts(16, 32, 2, 2))
    with pytest.raises(NoReadOutError, match='deep prompts .* leave join out'):
        check_joinable(prompted)
    with pytest.raises(ValueError, match='join: far is unknown; it takes beta'):
        tiny_open_vocab('naclip', join=dict(far=3))
    with pytest.raises(ValueError, match='1 or more'):
        tiny_open_vocab('naclip', join=dict(nearest=0))
    active = tiny_open_vocab('naclip', join={})
    with pytest.raises(ValueError, match='which join does not'):
        active.active_vocabulary = 'picture'
    assert 'join' in capability(tiny_open_vocab('naclip', join={})).reason


def test_seams_are_counted_pair_by_pair():
    boxes = [(0, 4, 0, 4), (0, 4, 2, 6), (0, 4, 6, 10)]
    first, second, third = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), torch.ones(2, 4, 4)
    first[0] = second[0] = 1.0
    second[1, 1, :2] = 2.0  # one of four rows of the two columns that both see
    assert window_disagreement([first, second, third], boxes) == (2, 8)
    assert window_disagreement([first], boxes[:1]) == (0, 0)
    metric = WindowSeams()
    metric.process(None, [dict(window_seams=(2, 8)), dict(window_seams=(1, 2)), dict(window_seams=(0, 0))])
    assert metric.compute_metrics(metric.results) == {'window_seams': 30.0}
    assert metric.compute_metrics([]) == {}
    with pytest.raises(ValueError, match='test_cfg.seams'):
        metric.process(None, [{}])


def test_models_count_seams_where_they_are_asked_to():
    model = tiny_open_vocab('naclip', test_cfg={**SLIDE, 'seams': True})
    with torch.no_grad():
        result = model.predict(images := pictures(64, 128), samples(images))[0]
    different, seen = result.window_seams
    assert seen == 2 * 64 * 32 and 0 <= different <= seen
    model.keep_logits, model.test_cfg['refine'] = False, dict(budget=0.0)
    with torch.no_grad():
        result = model.predict(images, samples(images))[0]
    assert result.window_seams == (different, seen) and 'refinement' not in result.metainfo  # all windows were run
