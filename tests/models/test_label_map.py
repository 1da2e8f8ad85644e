"""The chunked label maps equal the complete computation, in bounded memory."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denseclip.models.functional import label_map
from denseclip.models.functional.label_map import chunked_label_map, label_dtype, slide_label_map


def resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(planes[None], size=size, mode='bilinear', align_corners=False)[0]


def complete(logits: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    for size in sizes:
        logits = resize(logits, size)
    return logits.argmax(0)


side = st.sampled_from([1, 2, 7, 32, 65, 130])
size_pairs = st.tuples(side, side)


@settings(max_examples=60, deadline=None)
@given(
    num_classes=st.sampled_from([1, 2, 3, 5, 33, 35, 70]),
    low=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    sizes=st.lists(size_pairs, max_size=3),
    chunk=st.sampled_from([None, 1, 4, 7, 32]),
    seed=st.integers(0, 9),
)
def test_equal_to_the_complete_computation(num_classes, low, sizes, chunk, seed):
    logits = torch.randn(num_classes, *low, generator=torch.Generator().manual_seed(seed))
    # Steps of 1/4 make exact ties frequent.
    logits = (logits * 4).round() / 4
    result = chunked_label_map(logits, sizes, chunk)
    assert result.dtype == torch.uint8
    assert torch.equal(result.long(), complete(logits, sizes))


@pytest.mark.parametrize('num_classes', [3, 4, 33, 40])
@pytest.mark.parametrize('size', [(65, 190), (200, 90)])
def test_scores_near_a_tie_keep_their_winner(num_classes, size):
    """Classes one rounding step apart are told apart exactly as by the complete computation."""
    base = torch.randn(1, 9, 13, generator=torch.Generator().manual_seed(0))
    steps = torch.arange(num_classes, dtype=torch.float32).flip(0)[:, None, None] * 2e-7
    noise = torch.rand(num_classes, 9, 13, generator=torch.Generator().manual_seed(1)) * 4e-7
    logits = base + steps + noise
    assert torch.equal(chunked_label_map(logits, [size], 4).long(), complete(logits, [size]))


def test_ties_take_the_lowest_index():
    logits = torch.zeros(9, 4, 4)
    assert chunked_label_map(logits, [(8, 8)], 4).eq(0).all()
    logits[6:] = 1
    assert chunked_label_map(logits, [(8, 8)], 4).eq(6).all()


def test_row_bands_of_huge_pictures_change_nothing():
    logits = torch.randn(6, 11, 17, generator=torch.Generator().manual_seed(2))
    sizes = [(44, 68), (300, 500)]
    whole = chunked_label_map(logits, sizes)
    banded = chunked_label_map(logits, sizes, budget=4 * 6 * 500 * 7)
    assert torch.equal(whole, banded)
    assert torch.equal(whole.long(), complete(logits, sizes))


@pytest.mark.parametrize(('num_classes', 'dtype'), [(2, torch.uint8), (255, torch.uint8), (256, torch.int16)])
def test_label_type_holds_every_class_and_leaves_255_for_ignore(num_classes, dtype):
    logits = torch.zeros(num_classes, 2, 2)
    logits[-1] = 1
    result = chunked_label_map(logits, [(4, 4)])
    assert result.dtype == dtype == label_dtype(num_classes)
    assert result.eq(num_classes - 1).all()
    assert label_dtype(40_000) == torch.int32


def test_low_precision_scores():
    logits = torch.randn(40, 6, 6, generator=torch.Generator().manual_seed(3)).bfloat16()
    assert torch.equal(chunked_label_map(logits, [(80, 90)], 8).long(), complete(logits, [(80, 90)]))


def test_padding_is_cut_before_the_last_resize():
    logits = torch.randn(5, 8, 8, generator=torch.Generator().manual_seed(4))
    expected = resize(resize(logits, (70, 80))[:, 2:60, 3:75], (90, 100)).argmax(0)
    result = chunked_label_map(logits, [(70, 80), (90, 100)], valid=(2, 60, 3, 75))
    assert torch.equal(result.long(), expected)
    assert chunked_label_map(logits, [], valid=(0, 5, 1, 4)).shape == (5, 3)


def slide_complete(windows, boxes, img_size, out_size, valid=None):
    total = torch.zeros(windows[0].shape[0], *img_size)
    count = torch.zeros(1, *img_size)
    for logits, (top, bottom, left, right) in zip(windows, boxes, strict=True):
        padding = (left, img_size[1] - right, top, img_size[0] - bottom)
        total = total + F.pad(resize(logits, (bottom - top, right - left)), padding)
        count[:, top:bottom, left:right] += 1
    mean = total / count
    if valid is not None:
        mean = mean[:, valid[0] : valid[1], valid[2] : valid[3]]
    return resize(mean, out_size).argmax(0)


@pytest.mark.parametrize('num_classes', [2, 7, 35])
@pytest.mark.parametrize('crop', [40, 96])
@pytest.mark.parametrize('chunk', [None, 4])
def test_slide_equals_mmseg_arithmetic(num_classes, crop, chunk):
    generator = torch.Generator().manual_seed(num_classes)
    img_size, step = (110, 150), crop * 2 // 3
    tops = sorted({min(t, img_size[0] - crop) for t in range(0, img_size[0], step)})
    lefts = sorted({min(x, img_size[1] - crop) for x in range(0, img_size[1], step)})
    boxes = [(t, t + crop, x, x + crop) for t in tops for x in lefts]
    windows = [torch.randn(num_classes, 10, 10, generator=generator) for _ in boxes]
    for out_size, valid in (((130, 171), None), ((60, 50), (0, 100, 5, 150))):
        result = slide_label_map(windows, boxes, img_size, out_size, chunk, valid=valid)
        assert torch.equal(result.long(), slide_complete(windows, boxes, img_size, out_size, valid))


@pytest.mark.parametrize('num_classes', [2, 7, 35])
@pytest.mark.parametrize('chunk', [None, 4])
@pytest.mark.parametrize('valid', [None, (0, 40, 5, 90)])
def test_one_window_over_everything_skips_the_mean(num_classes, chunk, valid, monkeypatch):
    """The window's logits go the way of whole pictures, and the result is that of adding up and dividing by one."""
    logits = torch.randn(num_classes, 6, 12, generator=torch.Generator().manual_seed(5))
    box, size = (0, 48, 0, 96), (48, 96)
    cut = (48, 96) if valid is None else (40, 85)
    expected = {out: slide_complete([logits], [box], size, out or cut, valid) for out in (None, (70, 131), (20, 30))}
    calls = []
    monkeypatch.setattr(
        label_map, 'chunked_label_map', lambda *args, **kwargs: calls.append(args) or chunked_label_map(*args, **kwargs)
    )
    for out, labels in expected.items():
        assert torch.equal(slide_label_map([logits], [box], size, out, chunk, valid=valid).long(), labels)
    assert len(calls) == 3


def test_slide_refuses_uncovered_pixels_and_wrong_counts():
    window = torch.zeros(3, 4, 4)
    with pytest.raises(ValueError, match='uncovered'):
        slide_label_map([window], [(0, 8, 0, 8)], (10, 8), (10, 8))
    with pytest.raises(ValueError, match='1 windows of scores but 2 boxes'):
        slide_label_map([window], [(0, 8, 0, 8), (0, 8, 0, 8)], (8, 8), (8, 8))


@pytest.mark.parametrize('shape', [(4, 4), (1, 3, 4, 4), (0, 4, 4)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match='K x h x w'):
        chunked_label_map(torch.zeros(shape), [(4, 4)])


# The module alone: importing the package would take ten seconds.
PEAK = f"""
import resource, runpy, torch
chunked_label_map = runpy.run_path({label_map.__file__!r})['chunked_label_map']
torch.set_num_threads(1)
logits = torch.randn(847, 32, 43)
chunked_label_map(logits[:8], [(64, 86), (80, 107)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
chunked_label_map(logits, [(512, 683), (640, 854)])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='the resource module is POSIX only')
def test_847_classes_at_640x854_take_at_most_150_mb():
    """The complete computation takes 1.85 GB for the last resize alone."""
    peak = subprocess.run([sys.executable, '-c', PEAK], capture_output=True, text=True, check=True).stdout
    assert float(peak.splitlines()[-1]) <= 150
