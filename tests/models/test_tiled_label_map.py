"""Label maps by tiles equal those by resizing every class, whatever the scores."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.core.placement import slide_boxes
from denseclip.models.functional import tiled_label_map as module
from denseclip.models.functional.label_map import chunked_label_map, slide_label_map
from denseclip.models.functional.tiled_label_map import tiled_label_map


@pytest.fixture(autouse=True)
def _any_size(monkeypatch):
    monkeypatch.setattr(module, '_LEAST_NUMBERS', 0)
    monkeypatch.setattr(module, '_FEW_CLASSES', 4)


@pytest.fixture
def no_way_back(monkeypatch):
    """Fail where the whole map would be made by resizing every class."""

    def resized(maps, *args):
        raise AssertionError(f'{len(maps[0])} classes resized')

    monkeypatch.setattr(module, '_resized_label_map', resized)


def scores_of(kind: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    if kind == 'probabilities':
        return (noise * 4).softmax(dim=0)
    if kind == 'smooth':
        coarse = torch.randn(1, shape[0], 3, 3, generator=generator)
        return F.interpolate(coarse, size=shape[1:], mode='bicubic')[0] * 20
    if kind == 'ties':
        return (noise * 2).round()
    if kind == 'one step apart':
        return noise[:1] + torch.arange(shape[0], dtype=torch.float32).view(-1, 1, 1) * 1e-7
    return torch.zeros(shape)


KINDS = ('probabilities', 'smooth', 'ties', 'one step apart', 'constant')


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    classes=st.sampled_from([4, 5, 33]),
    size=st.tuples(st.integers(80, 150), st.integers(80, 150)),
    out=st.tuples(st.integers(70, 170), st.integers(70, 170)),
    crop=st.sampled_from([64, 80, 160]),
    cut=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 99),
)
def test_equal_to_resizing_every_class(kind, classes, size, out, crop, cut, seed):
    box = (min(crop, size[0]), min(crop, size[1]))
    boxes = slide_boxes(size, box, (crop // 2, crop // 2))
    maps = [scores_of(kind, (classes, 8, 9), seed + i) for i in range(len(boxes))]
    valid = (cut[0], size[0] - cut[1], 0, size[1] - cut[0])
    expected = slide_label_map(maps, boxes, size, out, valid=valid)
    assert torch.equal(tiled_label_map(maps, boxes, size, out, valid), expected)
    whole = chunked_label_map(maps[0], [size, out], valid=valid)
    assert torch.equal(tiled_label_map(maps[:1], None, size, out, valid), whole)


@pytest.mark.usefixtures('no_way_back')
def test_clear_cases_resize_no_class():
    maps = [scores_of('smooth', (20, 8, 8), 0)]
    maps[0][7] += 1000
    assert tiled_label_map(maps, None, (128, 128), (100, 140)).eq(7).all()
    left = torch.zeros(20, 8, 8)
    left[3, :, :4], left[11, :, 4:] = 5, 4
    found = tiled_label_map([left], None, (128, 128), (128, 128))
    assert found[:, :64].eq(3).all() and found[:, 72:].eq(11).all()


def test_a_window_of_few_classes_is_resized_whole(monkeypatch, no_way_back):
    monkeypatch.setattr(module, '_FEW_CLASSES', 24)
    with pytest.raises(AssertionError, match='20 classes resized'):
        tiled_label_map([scores_of('smooth', (20, 8, 8), 0)], None, (128, 128), (100, 140))


def test_only_classes_that_nearly_tie_are_resized(monkeypatch):
    maps = [scores_of('probabilities', (30, 8, 8), 0)]
    maps[0][5] = maps[0][9]
    expected = chunked_label_map(maps[0], [(128, 128), (100, 150)])
    counts, resized = [], module._resized_label_map
    monkeypatch.setattr(module, '_resized_label_map', lambda m, *a: counts.append(len(a[-1])) or resized(m, *a))
    assert torch.equal(tiled_label_map(maps, None, (128, 128), (100, 150)), expected)
    assert len(counts) == 1 and counts[0] < 15


@pytest.mark.parametrize('change', ['double', 'small', 'infinite', 'three classes', 'overlap', 'precision'])
def test_other_cases_are_resized(change, monkeypatch):
    maps, boxes, size, out = [torch.randn(6, 8, 8), torch.randn(6, 8, 8)], None, (90, 90), (100, 150)
    if change == 'double':
        maps = [m.double() for m in maps]
    elif change == 'small':
        size, out = (30, 40), (50, 60)
    elif change == 'infinite':
        maps[0][2, 3:] = -torch.inf
    elif change == 'three classes':
        maps = [m[:3] for m in maps]
    elif change == 'overlap':
        boxes = [(0, 90, 0, 80), (10, 90, 0, 90)]
    else:
        monkeypatch.setattr(torch, 'get_float32_matmul_precision', lambda: 'medium')
    calls, resized = [], module._resized_label_map
    monkeypatch.setattr(module, '_resized_label_map', lambda m, *a: calls.append(len(m[0])) or resized(m, *a))
    if boxes is None:
        assert torch.equal(tiled_label_map(maps[:1], None, size, out), chunked_label_map(maps[0], [size, out]))
        assert calls == [len(maps[0])]
    else:
        with pytest.raises(ValueError, match='uncovered'):
            tiled_label_map(maps, boxes, size, out)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_scores_of_16_bits_are_resized_and_compared_in_float32(dtype):
    maps = [scores_of('smooth', (30, 8, 8), 0).to(dtype)]
    sizes = [(128, 128), (100, 150)]
    found = tiled_label_map(maps, None, *sizes)
    assert torch.equal(found, chunked_label_map(maps[0].float(), sizes))
    assert not torch.equal(found, chunked_label_map(maps[0], sizes))


def test_meta_tensors_have_labels_too():
    assert tiled_label_map([torch.zeros(8, 8, 8, device='meta')], None, (90, 90), (100, 150)).shape == (100, 150)
