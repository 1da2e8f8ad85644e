"""Normalisation belongs to the weights."""

import pytest

from denseclip.clip.preprocess import PreprocessSpec

CLIP_MEAN, CLIP_STD = [122.771, 116.746, 104.094], [68.501, 66.632, 70.323]


def test_default_is_clip():
    spec = PreprocessSpec()
    assert spec.as_255()['mean'] == pytest.approx(CLIP_MEAN, abs=1e-2)
    assert spec.as_255()['std'] == pytest.approx(CLIP_STD, abs=1e-2)


def test_agreeing_numbers_pass():
    assert PreprocessSpec().conflict(CLIP_MEAN, CLIP_STD) is None


def test_contradiction_names_both():
    message = PreprocessSpec().conflict([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert message is not None
    assert '58.395' in message and '68.50' in message and 'RGB' in message


def test_swapped_channels_are_noticed():
    assert PreprocessSpec().conflict(CLIP_MEAN[::-1], CLIP_STD[::-1]) is not None


def test_from_open_clip_entries():
    spec = PreprocessSpec.of({'mean': (0.5,) * 3, 'std': (0.5,) * 3, 'interpolation': 'bilinear', 'url': 'x'}, size=384)
    assert spec == PreprocessSpec((0.5,) * 3, (0.5,) * 3, (384, 384), 'bilinear')
    assert PreprocessSpec.of({}, size=[224, 256]).size == (224, 256)
    assert PreprocessSpec.of({'size': 336}).size == (336, 336)
