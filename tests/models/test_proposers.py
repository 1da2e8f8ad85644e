"""Masks from elsewhere: superpixels, files, Segment Anything, detectors, other segmentors."""

import json
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS as DETECTORS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from pycocotools import mask as coco_masks
from tiny_ovseg import CLIP, HEAD, SWIN, tiny_ovseg
from tiny_two_stage import random_embeddings, random_masks, tiny_two_stage

from denseclip.models.builder import build_module
from denseclip.models.proposers import InstanceModelMasks, MaskFiles, SAMMasks, SegmentorMasks, SuperpixelMasks


@pytest.fixture
def picture():
    """Four flat quarters of a picture, (1, 3, 32, 48), with padding at the right."""
    image = torch.zeros(1, 3, 32, 48)
    image[:, 0, :16] = 200
    image[:, 1, :, :20] = 150
    return image


META = dict(img_path='some/where/street.jpg', img_shape=(32, 40))


def inside(proposals):
    return proposals.mask_logits[0] > 0


@pytest.mark.parametrize('how', [dict(scales=(50.0, 500.0)), dict(method='slic', scales=(4, 12), sigma=0.0)])
def test_superpixels_are_regions_of_like_colour(picture, how):
    found = build_module(dict(type='SuperpixelMasks', **how))(picture, [META])
    masks = inside(found)
    assert masks.shape[1:] == (32, 48) and not masks[:, :, 40:].any() and 4 <= len(masks) <= 100
    assert masks[:, :, :40].any(0).all()
    quarters = picture[0].sum(0)[:, :40]
    pure = [len(quarters[mask[:, :40]].unique()) == 1 for mask in masks]
    assert sum(pure) >= 4
    areas = masks.flatten(1).sum(1)
    assert (areas.diff() <= 0).all()


def test_superpixels_are_limited(picture):
    masks = inside(SuperpixelMasks(method='slic', scales=(4, 30), max_masks=5, min_area=0.0)(picture, [META]))
    assert len(masks) == 5


def test_large_pictures_are_divided_at_a_smaller_size(picture):
    found = SuperpixelMasks(method='slic', scales=(4,), sigma=0.0, max_side=20)(picture, [META])
    assert found.mask_logits.shape[2:] == (32, 48) and inside(found)[:, :, :40].any(0).all()


def masks_on_disk(folder):
    masks = np.zeros((2, 16, 20), dtype=bool)
    masks[0, :8], masks[1, :, 10:] = True, True
    np.savez(folder / 'street.npz', masks=masks, scores=np.array([0.9, 0.4]))
    np.save(folder / 'street.npy', masks)
    numbers = masks[0] * 700 + masks[1] * ~masks[0] * 3
    cv2.imwrite(str(folder / 'street.png'), numbers.astype(np.uint16))
    codes = [coco_masks.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    entries = [
        {'segmentation': {'size': code['size'], 'counts': code['counts'].decode()}, 'predicted_iou': score}
        for code, score in zip(codes, (0.9, 0.4), strict=True)
    ]
    (folder / 'street.json').write_text(json.dumps(entries))
    return torch.from_numpy(masks)


@pytest.mark.parametrize('suffix', ['.npz', '.npy', '.png', '.json', None])
def test_mask_files(tmp_path, picture, suffix):
    masks = masks_on_disk(tmp_path)
    found = MaskFiles(tmp_path, suffix)(picture, [META])
    expected = masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    if suffix == '.png':
        expected = torch.stack([expected[1] & ~expected[0], expected[0]])
    assert torch.equal(inside(found)[:, :, :40], expected) and not inside(found)[:, :, 40:].any()
    if suffix in ('.npz', '.json'):
        assert torch.allclose(found.scores[0], torch.tensor([0.9, 0.4]))


@pytest.mark.parametrize('suffix', ['.npz', '.npy', '.json'])
@pytest.mark.parametrize('left', [0, 0.5, 0.9])
def test_mask_files_that_are_cut_off_are_named(tmp_path, picture, suffix, left):
    masks_on_disk(tmp_path)
    path = tmp_path / f'street{suffix}'
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    with pytest.raises(ValueError, match=rf'street\{suffix}'):
        MaskFiles(tmp_path, suffix)(picture, [META])


@pytest.mark.parametrize('write', [np.savez, np.savez_compressed])
def test_a_damaged_archive_of_masks_is_named(tmp_path, picture, write):
    path = tmp_path / 'street.npz'
    write(path, masks=np.random.default_rng(0).integers(0, 2, (3, 32, 40)))
    content = path.read_bytes()
    for place in range(70, len(content) // 2, 31):  # inside the data, and where the compressed code begins
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x16]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"street\.npz' holds no masks"):
            MaskFiles(tmp_path, '.npz')(picture, [META])


def test_shares_in_a_mask_file_are_cut_at_one_half(tmp_path, picture):
    np.save(tmp_path / 'street.npy', np.full((1, 4, 4), 0.3))
    assert not inside(MaskFiles(tmp_path)(picture, [META])).any()
    np.save(tmp_path / 'street.npy', np.full((1, 4, 4), 0.6))
    assert inside(MaskFiles(tmp_path)(picture, [META]))[0, :, :40].all()


def test_pictures_with_fewer_masks_are_filled_up(tmp_path, picture):
    masks_on_disk(tmp_path)
    np.save(tmp_path / 'none.npy', np.zeros((0, 5, 5), dtype=bool))
    metas = [META, {**META, 'img_path': 'none.jpg'}]
    found = MaskFiles(tmp_path)(picture.repeat(2, 1, 1, 1), metas)
    assert found.mask_logits.shape == (2, 2, 32, 48) and (found.mask_logits[1] < -10).all()
    assert found.scores[1].tolist() == [0, 0]
    alone = MaskFiles(tmp_path)(picture, metas[1:])
    assert alone.mask_logits.shape == (1, 1, 32, 48)


def test_mask_files_that_cannot_be_used(tmp_path, picture):
    with pytest.raises(FileNotFoundError, match='folder of masks'):
        MaskFiles(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='mask files are'):
        MaskFiles(tmp_path, '.bmp')
    with pytest.raises(FileNotFoundError, match='no masks for'):
        MaskFiles(tmp_path)(picture, [META])
    with pytest.raises(ValueError, match='img_path'):
        MaskFiles(tmp_path)(picture, [{}])
    for name, content in (
        ('a.npz', dict(other=np.zeros(3))),
        ('b.npy', np.zeros((5, 5))),
        ('c.json', '[{"segmentation": [[1, 2, 3, 4, 5, 6]]}]'),
        ('d.json', '[{"segmentation": {"size": [4, 4], "cou'),
        ('e.json', '[{}]'),
    ):
        if name.endswith('json'):
            (tmp_path / name).write_text(content)
        elif name.endswith('npz'):
            np.savez(tmp_path / name, **content)
        else:
            np.save(tmp_path / name, content)
        with pytest.raises(ValueError, match=name):
            MaskFiles(tmp_path)(picture, [{'img_path': name}])


def test_segment_anything(monkeypatch, picture):
    with pytest.raises(ImportError, match='segment_anything'):
        SAMMasks()

    class Generator:
        def __init__(self, sam, **options):
            assert options == {'points_per_side': 4}

        def generate(self, pixels):
            assert pixels.shape == (32, 40, 3) and pixels.dtype == np.uint8
            return [{'segmentation': pixels[..., 0] > 100, 'predicted_iou': 0.7}]

    package = types.ModuleType('segment_anything')
    package.sam_model_registry = {'vit_b': lambda checkpoint: torch.nn.Linear(2, 2)}
    package.SamAutomaticMaskGenerator = Generator
    monkeypatch.setitem(sys.modules, 'segment_anything', package)
    proposer = SAMMasks(points_per_side=4)
    found = proposer(picture, [META])
    assert torch.equal(inside(found)[0, :, :40], picture[0, 0, :, :40] > 100)
    assert found.scores.tolist() == [[pytest.approx(0.7)]] and not proposer.state_dict()


class Detector(torch.nn.Module):
    """What a detector looks like from outside."""

    with_mask = True

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def data_preprocessor(self, data, training):
        assert not training and data['inputs'][0].dtype == torch.uint8
        assert data['data_samples'][0].scale_factor == (2.0, 2.0)
        return data

    def predict(self, inputs, data_samples, rescale):
        assert rescale and inputs[0].shape == (3, 64, 80)
        masks = torch.zeros(3, *data_samples[0].ori_shape, dtype=torch.bool)
        masks[0, :4] = masks[1, 4:8] = True
        data_samples[0].pred_instances = InstanceData(masks=masks, scores=torch.tensor([0.9, 0.5, 0.01]))
        return data_samples


def test_detectors(picture):
    proposer = InstanceModelMasks(Detector(), scale=(100, 64))
    found = proposer(picture, [META])
    assert inside(found).flatten(1).sum(1).tolist() == [160, 160] and not proposer.state_dict()
    proposer.train()
    assert not proposer.model.training
    with pytest.raises(ValueError, match='boxes only'):
        InstanceModelMasks(torch.nn.Linear(1, 1))


@DETECTORS.register_module(force=True)
class PreparedDetector(torch.nn.Module):
    """One with a preprocessor of MMDetection, which remembers the device of its inputs."""

    with_mask = True

    def __init__(self):
        super().__init__()
        self.data_preprocessor = DetDataPreprocessor(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True)

    def predict(self, inputs, data_samples, rescale):
        masks = inputs[0, :1] > 100  # a tensor without values would stop here
        masks = torch.nn.functional.interpolate(masks[None].float(), size=data_samples[0].ori_shape)[0].bool()
        data_samples[0].pred_instances = InstanceData(masks=masks, scores=torch.ones(1))
        return data_samples


def test_inputs_of_a_detector_go_where_the_picture_is(picture):
    proposer = InstanceModelMasks(PreparedDetector(), scale=(40, 32))
    proposer.model.data_preprocessor._device = torch.device('meta')  # as after a move that MMEngine did not see
    assert torch.equal(inside(proposer(picture, [META]))[0, :, :40], picture[0, 0, :, :40] > 100)


def test_panoptic_models_without_instances_are_named(picture, monkeypatch):
    monkeypatch.setattr(PreparedDetector, 'predict', lambda self, inputs, data_samples, rescale: data_samples)
    with pytest.raises(ValueError, match='instance_on=True'):
        InstanceModelMasks(PreparedDetector())(picture, [META])


def test_models_of_config_files(tmp_path, picture):
    (tmp_path / 'detector.py').write_text('model = dict(type="PreparedDetector")')
    with DefaultScope.overwrite_default_scope('mmseg'):  # as in a segmentor's config
        assert isinstance(InstanceModelMasks(str(tmp_path / 'detector.py')).model, PreparedDetector)
    parts = dict(backbone=SWIN, decode_head=HEAD, clip=CLIP, vocabulary=['sky'], templates='plain')
    (tmp_path / 'segmentor.py').write_text(f'model = {dict(type="OVSeg", **parts)}')
    whole = tiny_ovseg(vocabulary=['sky'])
    torch.save({'state_dict': whole.state_dict()}, tmp_path / 'iter_1.pth')
    proposer = SegmentorMasks(str(tmp_path / 'segmentor.py'), weights=tmp_path / 'iter_1.pth')
    found = proposer(picture, [META]).mask_logits
    torch.testing.assert_close(found, SegmentorMasks(whole)(picture, [META]).mask_logits)
    (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(ValueError, match='describes no model'):
        SegmentorMasks(tmp_path / 'empty.py')


def test_other_segmentors(picture):
    other = tiny_two_stage(random_masks(5), random_embeddings(5))
    seen = []
    propose = other.propose
    other.propose = lambda inputs, samples: (seen.append(inputs), propose(inputs, samples))[1]
    proposer = SegmentorMasks(other, keep_embeddings=True)
    found = proposer(picture, [META])
    assert torch.equal(found.mask_logits[0], random_masks(5)) and found.class_embeddings.shape == (1, 5, 16)
    assert torch.allclose(other.colours(seen[0]), picture, atol=1e-3)
    assert SegmentorMasks(other)(picture, [META]).class_embeddings is None
    assert not proposer.train().segmentor.training
    with pytest.raises(ValueError, match='no first stage'):
        SegmentorMasks(torch.nn.Linear(1, 1))


def test_a_segmentor_takes_any_of_them(tmp_path):
    masks_on_disk(tmp_path)
    model = tiny_two_stage()
    images = torch.randn(1, 3, 32, 48)
    for config in (dict(type='MaskFiles', folder=tmp_path), dict(type='SuperpixelMasks', scales=(200.0,))):
        model.proposer = build_module(config)
        sample = model.predict(images, [SegDataSample(metainfo={**META, 'ori_shape': (64, 80)})])[0]
        assert sample.pred_sem_seg.data.shape == (1, 64, 80)
