"""Several pictures at once give what they give one by one, in their order, by as few runs as their shapes allow."""

import numpy as np
import pytest
import torch
from bright_spots import CONFIG
from mmengine.config import Config
from PIL import Image
from tiny_detectors import detector_config, tiny_detector
from tiny_pmp_hosts import CLIP, HEAD

from denseclip.apis import AnomalyInferencer
from denseclip.apis.batches import MOST_AT_ONCE
from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.models.builder import build_module
from denseclip.weights import write_safetensors

SIZES = ((40, 60), (64, 64), (40, 60), (90, 50), (40, 60), (3, 80))


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (4, 6, 3), dtype=np.uint8) for _ in SIZES]
    return [
        np.array(Image.fromarray(c).resize((w, h), Image.Resampling.BICUBIC))
        for c, (h, w) in zip(coarse, SIZES, strict=True)
    ]


@pytest.fixture
def runs(monkeypatch):
    """Note how many pictures each run of a model takes."""

    def count(model):
        seen, step = [], model.test_step
        monkeypatch.setattr(model, 'test_step', lambda batch: seen.append(len(batch['inputs'])) or step(batch))
        return seen

    return count


def test_label_maps(inferencer, pictures, runs):
    alone = [inferencer.segment(p, 'temple; sky', channel_order='rgb') for p in pictures]
    seen = runs(inferencer.model)
    together = inferencer.segment(pictures, 'temple; sky', channel_order='rgb')
    assert sorted(seen) == [1, 1, 1, 3]
    for one, other, picture in zip(alone, together, pictures, strict=True):
        np.testing.assert_array_equal(one.label_map, other.label_map)
        np.testing.assert_array_equal(other.image, picture)
        assert one.names == other.names == ('temple', 'sky')


def test_kinds_may_be_mixed_and_a_batch_is_a_list(inferencer, pictures, photo):
    mixed = [photo, pictures[0], torch.from_numpy(pictures[1]).permute(2, 0, 1), photo.read_bytes()]
    found = inferencer.segment(mixed, channel_order='rgb')
    assert [r.label_map.shape for r in found] == [(60, 90), (40, 60), (64, 64), (60, 90)]
    np.testing.assert_array_equal(found[0].label_map, found[3].label_map)
    assert found[0].source == photo and found[1].source is None
    batch = torch.stack([torch.from_numpy(pictures[k]).permute(2, 0, 1) for k in (0, 2, 4)])
    for one, picture in zip(inferencer.segment(batch), (pictures[k] for k in (0, 2, 4)), strict=True):
        np.testing.assert_array_equal(one.label_map, inferencer.segment(picture, channel_order='rgb').label_map)
    assert inferencer.segment([]) == []
    assert len(inferencer.segment([photo])) == 1


def test_large_groups_are_divided(inferencer, runs):
    seen = runs(inferencer.model)
    assert len(inferencer.segment([torch.zeros(3, 16, 16)] * (MOST_AT_ONCE + 3))) == MOST_AT_ONCE + 3
    assert seen == [MOST_AT_ONCE, 3]


def test_a_bad_picture_is_told_before_anything_runs(inferencer, photo, runs):
    seen = runs(inferencer.model)
    with pytest.raises(UserError, match='picture 2 of 2'):
        inferencer.segment([photo, torch.full((3, 4, 4), 7.0)])
    assert not seen


@pytest.mark.parametrize('task', ['semantic', 'panoptic', 'instance'])
def test_masks(pictures, task, runs):
    torch.manual_seed(0)
    model = build_module(
        dict(type='FCCLIP', clip=CLIP, head=HEAD, vocabulary='car; road; sky', templates='photo')
        | dict(test_cfg=dict(task='semantic', score_threshold=0.0, overlap_threshold=0.0))
    )
    steps = [dict(type='PillowResizeShortSide', short_side=64, max_long_side=128), dict(type='PackPanopticInputs')]
    inferencer = MaskInferencer.from_model(model, steps)
    inferencer._things, inferencer.score = None, 0.0
    inferencer.set_task(task)
    alone = [inferencer.segment(p, channel_order='rgb') for p in pictures]
    seen = runs(model)
    together = inferencer.segment(pictures, channel_order='rgb')
    assert sorted(seen) == [1, 1, 1, 3]
    for one, other in zip(alone, together, strict=True):
        assert type(one) is type(other)
        if task == 'semantic':
            assert (one.label_map == other.label_map).mean() > 0.99
        elif task == 'panoptic':
            assert [s.label for s in one.segments] == [s.label for s in other.segments]
            assert (one.ids == other.ids).mean() > 0.99
        else:
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize('kind', ['retinanet', 'mask-rcnn'])
def test_boxes(pictures, kind, runs, tmp_path):
    torch.manual_seed(0)
    preprocessor = dict(type='DetDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=32)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    config = Config(dict(model=detector_config(kind, data_preprocessor=preprocessor), default_scope='mmdet'))
    config.test_pipeline = [
        dict(type='Resize', scale=(128, 96), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=keys),
    ]
    weights = write_safetensors(tiny_detector(kind).state_dict(), tmp_path / 'weights.safetensors')
    detector = Detector(config, weights, device='cpu')
    alone = [detector.detect(p, 0.0, channel_order='rgb') for p in pictures]
    seen = runs(detector.model)
    together = detector.detect(pictures, 0.0, channel_order='rgb')
    assert sorted(seen) == [1, 1, 1, 3]
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_anomalies(pictures, runs):
    inferencer = AnomalyInferencer(CONFIG, device='cpu')
    alone = [inferencer.localize(p, 'nut', channel_order='rgb') for p in pictures]
    seen = runs(inferencer.model)
    together = inferencer.localize(pictures, 'nut', channel_order='rgb')
    assert sorted(seen) == [1, 1, 1, 3]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.anomaly_map, other.anomaly_map)
        assert one.score == other.score


def test_channel_orders_are_one_picture(inferencer, pictures):
    rgb = pictures[1]
    expected = inferencer.segment(Image.fromarray(rgb)).label_map
    for image, order in ((rgb, 'rgb'), (rgb[..., ::-1], 'bgr'), (torch.from_numpy(rgb).permute(2, 0, 1), None)):
        np.testing.assert_array_equal(inferencer.segment(image, channel_order=order).label_map, expected)
    assert (inferencer.segment(rgb[..., ::-1], channel_order='rgb').label_map != expected).any()


def test_a_result_can_be_segmented_again(inferencer, photo):
    """What results hold is RGB, as arrays are."""
    first = inferencer.segment(photo)
    again = inferencer.segment(first.image, channel_order='rgb')
    np.testing.assert_array_equal(again.label_map, first.label_map)
