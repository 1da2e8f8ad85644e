"""Cutting masks out: all at once as one by one."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.region_crops import clamp_boxes, crop_regions, expand_boxes

MEAN, STD = [122.0, 116.0, 104.0], [68.0, 66.0, 70.0]


def one_by_one(image, masks, size, threshold, fill, expand, matting):
    """The procedure as written in the paper's section 3.2, a mask at a time."""
    mean, std, colour = (torch.tensor(v)[:, None, None] for v in (MEAN, STD, fill))
    pictures, frames = [], []
    for share in masks:
        inside = share > threshold
        if not inside.any():
            continue
        ys, xs = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
        box = torch.tensor([[xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]])
        x1, y1, x2, y2 = clamp_boxes(expand_boxes(box, expand), image.shape[1:])[0].tolist()
        mask = (share if matting else inside.float())[y1:y2, x1:x2]
        crop = image[:, y1:y2, x1:x2] * mask + (1 - mask) * colour
        pictures.append(F.interpolate(((crop - mean) / std)[None], size=size, mode='bicubic')[0])
        frames.append(F.interpolate(mask[None, None], size=size, mode='nearest')[0, 0])
    return torch.stack(pictures), torch.stack(frames)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 50),
    count=st.integers(1, 5),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    expand=st.sampled_from([0.7, 1.0, 1.5]),
    matting=st.booleans(),
    budget=st.sampled_from([1, 10**4, 10**7]),
    seed=st.integers(0, 99),
)
def test_equal_to_one_by_one(height, width, count, size, expand, matting, budget, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, height, width, generator=generator) * 255
    coarse = torch.rand(count, 1, 3, 3, generator=generator)
    masks = F.interpolate(coarse, size=(height, width), mode='bilinear')[:, 0]
    masks[0, 0, 0] = 0.9  # at least one mask has a pixel
    how = dict(threshold=0.6, fill=MEAN if seed % 2 else [10.0, 0.0, 200.0], expand=expand, matting=matting)
    found = crop_regions(image, masks, size=size, mean=MEAN, std=STD, budget=budget, **how)
    pictures, frames = one_by_one(image, masks, size, **how)
    torch.testing.assert_close(found.pictures, pictures, atol=2e-5, rtol=1e-5)
    assert torch.equal(found.masks.float(), frames)
    assert torch.equal(found.valid, (masks > 0.6).flatten(1).any(1))


def test_a_box_keeps_a_pixel():
    masks = torch.zeros(1, 9, 9)
    masks[0, 4, 4] = 1
    found = crop_regions(torch.rand(3, 9, 9), masks, size=(4, 4), expand=0.5)
    assert found.pictures.isfinite().all() and (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_no_mask_and_no_valid_mask():
    image = torch.rand(3, 8, 9)
    for masks in (torch.zeros(0, 8, 9), torch.zeros(3, 8, 9), torch.zeros(3, 8, 9, dtype=torch.bool)):
        found = crop_regions(image, masks, size=(4, 5))
        assert found.pictures.shape == (0, 3, 4, 5) and found.masks.shape == (0, 4, 5)
        assert found.valid.tolist() == [False] * len(masks)


def test_boolean_masks_are_taken_as_they_are():
    masks = torch.rand(4, 12, 12) > 0.5
    image = torch.rand(3, 12, 12)
    hard, soft = (crop_regions(image, m, size=(6, 6)) for m in (masks, masks.float()))
    assert torch.equal(hard.pictures, soft.pictures) and torch.equal(hard.masks, soft.masks)


def test_background_is_the_colour_asked_for():
    masks = torch.zeros(1, 10, 10)
    masks[0, :2, :2] = masks[0, 8:, 8:] = 1
    found = crop_regions(torch.rand(3, 10, 10) * 255, masks, size=(10, 10), fill=[1.0, 2.0, 3.0])
    assert torch.allclose(found.pictures[0, :, 5, 5], torch.tensor([1.0, 2.0, 3.0]))
    assert not found.masks[0, 5, 5] and found.masks[0, 0, 0]


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='masks of'):
        crop_regions(torch.rand(3, 8, 8), torch.rand(1, 9, 8), size=(4, 4))
