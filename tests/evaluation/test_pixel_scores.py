"""Pixel measures, exact and in bins: against plain versions, at the edges, and whatever the order of the pictures."""

import math

import cv2
import numpy as np
import pytest
from plain_measures import plain_aupro, plain_aupro_200, plain_f1_max
from sklearn.metrics import average_precision_score, roc_auc_score

from denseclip.evaluation.anomaly import (
    BinnedPixels,
    ExactPixels,
    aupro,
    aupro_200,
    auroc,
    average_precision,
    check_pair,
    f1_max,
    label_regions,
    pixel_measures,
)
from denseclip.evaluation.anomaly.regions import region_weights


def draw(count=6, size=(48, 40), seed=0, dtype=np.float32, largest=6):
    """Smooth maps around 0.5, as CLIP gives them, and masks of up to three discs."""
    rng = np.random.default_rng(seed)
    masks, maps = np.zeros((count, *size), np.uint8), []
    for index, mask in enumerate(masks):
        for _ in range(index % 4):
            centre = tuple(int(rng.integers(4, side - 4)) for side in size[::-1])
            cv2.circle(mask, centre, int(rng.integers(1, largest)), 255, -1)
        noise = cv2.GaussianBlur(rng.normal(size=size), (0, 0), 2)
        maps.append(0.5 + 0.004 * (2 * noise + cv2.GaussianBlur(mask / 255, (0, 0), 2)))
    return np.stack(maps).astype(dtype), masks


def collected(maps, masks, collector=None):
    collector = collector or ExactPixels()
    for scores, mask in zip(maps, masks, strict=True):
        collector.add(*check_pair(scores, mask))
    return collector


@pytest.mark.parametrize('collector', [ExactPixels, BinnedPixels])
@pytest.mark.parametrize('levels', [None, 16])
def test_equal_to_the_plain_versions(collector, levels):
    maps, masks = draw(count=4, size=(18, 16))
    if levels:
        maps = np.round((maps - maps.min()) / np.ptp(maps) * levels) / levels
    pixels = collected(maps, masks, collector())
    curve = pixels.curve()
    flat, truth = maps.ravel(), masks.ravel() != 0
    assert auroc(curve) == pytest.approx(roc_auc_score(truth, flat), abs=1e-9)
    assert average_precision(curve) == pytest.approx(average_precision_score(truth, flat), abs=1e-9)
    assert f1_max(curve)[0] == pytest.approx(plain_f1_max(truth, flat), abs=1e-9)
    for limit in (0.05, 0.3, 1.0):
        assert aupro(curve, limit) == pytest.approx(plain_aupro(masks, maps, limit), abs=1e-9)
    assert aupro_200(pixels) == pytest.approx(plain_aupro_200(masks, maps), abs=1e-9)


@pytest.mark.parametrize('change', [lambda m: m, lambda m: np.exp(40 * (m - m.max())), lambda m: 1000 * m - 500])
def test_bins_agree_to_four_digits_in_bounded_memory(change):
    maps, masks = draw(count=8, size=(128, 128), seed=1, largest=30)
    maps = change(maps.astype(np.float64)).astype(np.float32)
    maps[0, 0, 0] = 1e6  # an outlier costs one bin, not the resolution of the rest
    exact, binned = collected(maps, masks), collected(maps, masks, BinnedPixels(16_384))
    assert binned._keys.size <= 16_384 < np.unique(maps).size and binned.shift > 0
    expected, found = pixel_measures(exact), pixel_measures(binned)
    assert found == pytest.approx(expected, abs=1e-4)
    assert f1_max(binned.curve())[1] == pytest.approx(f1_max(exact.curve())[1], rel=1e-2, abs=1e-4)


def test_bins_do_not_depend_on_order_or_processes():
    maps, masks = draw(count=8, seed=2)
    whole = collected(maps, masks, BinnedPixels(500))
    reverse = collected(maps[::-1], masks[::-1], BinnedPixels(500))
    parts = [collected(maps[i::3], masks[i::3], BinnedPixels(500)) for i in range(3)]
    merged = BinnedPixels(500)
    for part in parts:
        merged.merge(part)
    for other in (reverse, merged):
        assert other.shift == whole.shift
        np.testing.assert_array_equal(other._keys, whole._keys)
        np.testing.assert_allclose(other._mass, whole._mass, rtol=1e-12)
    with pytest.raises(ValueError, match='400 bins'):
        whole.merge(BinnedPixels(400))
    with pytest.raises(ValueError, match='at least 2'):
        BinnedPixels(1)


def test_bins_keep_the_order_of_all_floats():
    values = np.array([[-np.float32(3e38), -1.0, -1e-30, -0.0], [0.0, 1e-30, 0.5, 3e38]], np.float32)
    binned = collected([values], [np.ones((2, 4))], BinnedPixels(100))
    np.testing.assert_array_equal(binned.curve().thresholds[::-1], np.unique(values))
    assert binned.quantile(0.0) == values[0, 0] and binned.quantile(1.0) == values[1, 3]
    assert binned.quantile(0.5) == 0


@pytest.mark.parametrize('collector', [ExactPixels, BinnedPixels])
def test_perfect_and_constant_maps(collector):
    _, masks = draw()
    perfect = pixel_measures(collected((masks > 0).astype(np.float32), masks, collector()))
    assert list(perfect.values()) == pytest.approx([1.0] * 4)
    constant = collected(np.full(masks.shape, 0.5, np.float32), masks, collector())
    share = (masks > 0).mean()
    expected = {'pixel_AUROC': 0.5, 'pixel_AP': share, 'pixel_F1max': 2 * share / (1 + share), 'AUPRO': 0.15}
    assert pixel_measures(constant) == pytest.approx(expected)
    for pixels in (constant, collected((masks > 0).astype(np.float32), masks, collector())):
        assert math.isnan(aupro_200(pixels))  # where the authors' script fails


@pytest.mark.parametrize('collector', [ExactPixels, BinnedPixels])
@pytest.mark.parametrize('value', [0, 255])
def test_one_kind_of_pixel_only(collector, value):
    maps, masks = draw(count=2)
    found = pixel_measures(collected(maps, np.full_like(masks, value), collector()))
    assert math.isnan(found['pixel_AUROC']) and math.isnan(found['AUPRO'])
    assert (found['pixel_AP'] == 1.0) is bool(value)
    assert math.isnan(aupro_200(collected(maps, np.full_like(masks, value), collector())))


@pytest.mark.parametrize('collector', [ExactPixels, BinnedPixels])
def test_no_picture_and_one_picture(collector):
    assert all(math.isnan(v) for v in pixel_measures(collector()).values())
    maps, masks = draw(count=2)
    found = pixel_measures(collected(maps[1:], masks[1:], collector()))
    assert found['AUPRO'] == pytest.approx(plain_aupro(masks[1:], maps[1:]), abs=1e-9)


def test_pictures_may_differ_in_size_and_come_later():
    first, second = draw(count=3), draw(count=3, size=(20, 64), seed=5)
    pixels = collected(*first)
    pixels.curve()
    collected(*second, pixels)
    everything = np.concatenate([part.ravel() for part in (first[0], second[0])])
    truth = np.concatenate([part.ravel() > 0 for part in (first[1], second[1])])
    assert auroc(pixels.curve()) == pytest.approx(roc_auc_score(truth, everything), abs=1e-12)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_map_with_nan_names_its_picture(bad):
    maps, masks = draw(count=1)
    maps[0, 3, 4] = bad
    with pytest.raises(ValueError, match=r'a\.png: 1 of 1920 scores .* NaN or infinite'):
        check_pair(maps[0], masks[0], 'a.png')


@pytest.mark.parametrize('shape', [(48, 41), (40, 48), (1, 48, 40)])
def test_a_mask_of_another_size_is_told(shape):
    with pytest.raises(ValueError, match=r'a\.png: the anomaly map is 48 x 40, its mask'):
        check_pair(np.zeros((48, 40)), np.zeros(shape), 'a.png')
    with pytest.raises(ValueError, match='no pixels'):
        check_pair(np.zeros((0, 3)), np.zeros((0, 3)))


def test_half_precision_and_integers_are_taken():
    maps, masks = draw(count=1, dtype=np.float16)
    assert check_pair(maps[0], masks[0])[0].dtype == np.float32
    assert check_pair(np.eye(3, dtype=int), np.eye(3))[0].dtype == np.float32


def test_regions_are_eight_connected_and_never_join_across_pictures():
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[0, 3, 3] = masks[0, 2, 2] = 7  # touch at a corner
    masks[0, 0, 0] = masks[1, 0, 0] = 1
    labels = label_regions(masks)
    assert labels.max() == 3 and labels[0, 3, 3] == labels[0, 2, 2] != labels[0, 0, 0]
    assert labels[1].max() == 3 and not labels[2].any()
    weights, regions = region_weights(masks[0])
    assert regions == 2 and weights.tolist() == [1.0, 0.5, 0.5]


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="'best' is unknown; choose from exact, anovl"):
        pixel_measures(ExactPixels(), 'best')
    with pytest.raises(ValueError, match='limit'):
        aupro(collected(*draw(count=2)).curve(), 0.0)
