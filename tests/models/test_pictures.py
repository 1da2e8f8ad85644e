"""Normalisation there and back, and padding to whole patches."""

import torch

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.placement import pad_to_multiple
from denseclip.models.functional.pictures import denormalize_pictures, normalize_pictures

SPEC = PreprocessSpec(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


def test_there_and_back():
    images = torch.rand(2, 3, 5, 7)
    there = normalize_pictures(images, SPEC)
    torch.testing.assert_close(there[:, 2], (images[:, 2] - 0.3) / 0.125)
    torch.testing.assert_close(denormalize_pictures(there, SPEC), images)


def test_padding_goes_right_and_down_to_whole_patches():
    images = torch.rand(1, 3, 17, 32)
    padded = pad_to_multiple(images, 16)
    assert padded.shape == (1, 3, 32, 32)
    assert torch.equal(padded[:, :, :17], images) and not padded[:, :, 17:].any()
    assert pad_to_multiple(padded, 16) is padded
