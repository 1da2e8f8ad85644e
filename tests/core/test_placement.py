"""Where pictures lie in the input of a network, and the way back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.utils import stack_batch

from denseclip.core.placement import (
    Placement,
    Windows,
    nearest,
    pad_to,
    pad_to_multiple,
    resize,
    size_of,
    slide_boxes,
    upper_left,
    whole_multiples,
)

PICTURE = torch.arange(12.0).reshape(1, 3, 4)
AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}


@pytest.mark.parametrize(
    'meta',
    [
        dict(img_padding_size=(0, 4, 0, 5)),
        dict(padding_size=(0, 4, 0, 5)),
        dict(img_shape=(3, 4)),
        dict(img_shape=(3, 4, 3), pad_shape=(8, 8, 3)),
        dict(img_padding_size=(0, 4, 0, 5), img_shape=(8, 8)),
    ],
)
def test_every_way_of_noting_padding_means_the_same(meta: dict) -> None:
    placement = Placement.of(meta, (8, 8))
    assert placement == Placement((8, 8), upper_left((3, 4)), (3, 4))
    assert torch.equal(placement.finish(F.pad(PICTURE, (0, 4, 0, 5))), PICTURE)


@pytest.mark.parametrize('padding', [(1, 0, 0, 0), (2, 3, 1, 4), (0, 0, 6, 0)])
@pytest.mark.parametrize('flip', [None, *AXES])
def test_padding_on_any_side_and_flips_are_undone(padding: tuple, flip: str | None) -> None:
    seen = PICTURE if flip is None else PICTURE.flip(AXES[flip])
    seen = F.pad(seen, padding, value=99.0)
    meta = dict(img_padding_size=padding, flip=flip is not None, flip_direction=flip)
    assert torch.equal(Placement.of(meta, size_of(seen)).finish(seen), PICTURE)


def test_mmsegs_batches_are_cut_to_their_pictures() -> None:
    pictures = [torch.rand(3, 5, 9), torch.rand(3, 8, 6)]
    inputs, notes = stack_batch(pictures, size_divisor=4, pad_val=0)
    for picture, seen, meta in zip(pictures, inputs, notes, strict=True):
        assert torch.equal(Placement.of(meta, size_of(inputs)).finish(seen), picture)


def test_padding_of_the_model_counts_besides_that_of_the_batch() -> None:
    padded = whole_multiples((5, 9), 8)
    placement = Placement.of(dict(img_padding_size=(1, 1, 0, 2), ori_shape=(6, 14)), (5, 9), padded)
    assert padded == (8, 16) and placement == Placement((8, 16), (0, 3, 1, 8), (6, 14))
    masks = torch.rand(2, 2, 4)
    expected = resize(resize(masks, (8, 16))[:, 0:3, 1:8], (6, 14))
    assert torch.equal(placement.apply(masks), expected)
    assert placement.result_size(masks) == (6, 14) and placement.largest(masks) == 128


def test_without_notes_the_input_is_the_result() -> None:
    planes = torch.rand(2, 5, 7)
    assert torch.equal(Placement.of({}, (5, 7)).finish(planes), planes)
    assert torch.equal(Placement().apply(planes), planes)
    assert Placement(valid=(1, 4, 2, 9)).result_size(planes) == (3, 5)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="'sideways' is unknown; choose from horizontal, vertical, diagonal"):
        Placement.of(dict(flip=True, flip_direction='sideways'), (4, 4))
    with pytest.raises(ValueError, match='padding leaves nothing'):
        Placement.of(dict(img_padding_size=(0, 0, 2, 2)), (4, 4))
    with pytest.raises(ValueError, match='4x6 input uncovered'):
        Windows([(0, 4, 0, 5)], (4, 6))
    with pytest.raises(ValueError, match='longer'):
        Windows([(0, 4, 0, 5), (0, 4, 1, 6)], (4, 6)).mean([torch.rand(1, 2, 2)])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_padding_adds_less_than_a_step_and_keeps_the_picture(height: int, width: int, down: int, across: int) -> None:
    images = torch.rand(2, 3, height, width)
    padded = pad_to_multiple(images, (down, across))
    assert padded.shape[2] % down == 0 == padded.shape[3] % across
    assert padded.shape[2] - height < down and padded.shape[3] - width < across
    assert torch.equal(padded[..., :height, :width], images) and padded.count_nonzero() == images.count_nonzero()
    coloured = pad_to(images, size_of(padded), (0.5, -1.0, 2.0))
    assert torch.equal(coloured[..., :height, :width], images)
    for channel, value in enumerate((0.5, -1.0, 2.0)):
        outside = torch.cat([coloured[:, channel, height:].flatten(), coloured[:, channel, :, width:].flatten()])
        assert bool((outside == value).all())


@pytest.mark.parametrize('size', [(12, 12), (13, 30), (25, 7)])
@pytest.mark.parametrize('batch', [(), (2,)])
def test_windows_that_show_one_picture_have_it_as_their_mean(size: tuple, batch: tuple) -> None:
    picture = torch.randint(0, 100, (*batch, 3, *size)).double()
    boxes = slide_boxes(size, (12, 12), (5, 7))
    parts = (picture[..., top:bottom, left:right] for top, bottom, left, right in boxes)
    assert torch.equal(Windows(boxes, size).mean(parts), picture)


def test_no_plane_at_all_has_a_size_too() -> None:
    assert resize(torch.zeros(0, 4, 5), (8, 9)).shape == (0, 8, 9)


def test_nearest_is_that_of_pytorch() -> None:
    planes = torch.randint(0, 9, (2, 7, 13))
    for size in ((3, 5), (14, 26), (11, 12)):
        wanted = F.interpolate(planes[None].float(), size=size, mode='nearest')[0].long()
        assert torch.equal(nearest(planes, size), wanted)
