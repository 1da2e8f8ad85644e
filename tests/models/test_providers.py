"""Plug-ins that bring affinities and regions."""

import sys
import types

import cv2
import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import TINY_DINO, tiny_open_vocab
from torch import nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.models.providers import DINOAffinity, RegionFiles, SAMRegions

SPEC = PreprocessSpec()


def test_dino_sees_the_picture_that_clip_sees():
    torch.manual_seed(0)
    provider = DINOAffinity(TINY_DINO)
    images = torch.randn(2, 3, 32, 44)
    found = provider(images, SPEC)
    assert found.grid == (4, 6) and found.logits.shape == (2, 24, 24)
    assert torch.allclose(provider(images[1:], SPEC).logits, found.logits[1:], atol=1e-4)
    other = PreprocessSpec(mean=(0.5,) * 3, std=(0.5,) * 3)
    raw = images * torch.tensor(SPEC.std).view(1, 3, 1, 1) + torch.tensor(SPEC.mean).view(1, 3, 1, 1)
    again = provider((raw - 0.5) / 0.5, other).logits
    assert torch.allclose(again, found.logits, atol=1e-3)
    assert provider.state_dict() == {}


def test_regions_from_files(tmp_path):
    numbers = np.array([[1, 1, 300], [2, 255, 300]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / 'cat.png'), numbers)
    np.save(tmp_path / 'cat.npy', numbers.astype(np.int32))
    image, meta = torch.zeros(3, 2, 3), {'img_path': '/data/cat.jpg'}
    for suffix in ('.png', '.npy'):
        found = RegionFiles(tmp_path, suffix, no_region=255)(image, SPEC, (4, 6), meta)
        assert found[::2, ::2].tolist() == [[1, 1, 300], [2, -1, 300]] and torch.equal(found[::2], found[1::2])
    with pytest.raises(FileNotFoundError, match='dog.png'):
        RegionFiles(tmp_path).read('dog.jpg')
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(ValueError, match='whole numbers'):
        RegionFiles(tmp_path).read('text.jpg')
    with pytest.raises(ValueError, match='name of the picture'):
        RegionFiles(tmp_path)(image, SPEC, (4, 6), {})


def test_each_region_takes_one_label(tmp_path):
    regions = np.zeros((50, 70), np.uint8)
    regions[:, 30:] = 1
    cv2.imwrite(str(tmp_path / 'cat.png'), regions)
    model = tiny_open_vocab('maskclip', regions=dict(type='RegionFiles', folder=str(tmp_path)))
    sample = SegDataSample(metainfo=dict(img_path='cat.jpg', ori_shape=(50, 70)))
    with torch.no_grad():
        labels = model.predict(torch.randn(1, 3, 50, 70), [sample])[0].pred_sem_seg.data[0]
    assert labels[:, :30].unique().numel() == labels[:, 30:].unique().numel() == 1


class FakeSAM(nn.Module):
    """What the package builds, as far as it is used."""

    def __init__(self, checkpoint=None):
        super().__init__()
        self.layer = nn.Linear(1, 1)


class FakeGenerator:
    """Two masks, the larger one first."""

    def __init__(self, sam, points_per_side=32):
        self.points = points_per_side

    def generate(self, picture):
        assert picture.dtype == np.uint8 and picture.shape == (8, 12, 3)
        large, small = (np.zeros((8, 12), bool) for _ in range(2))
        large[:6], small[:4, :4] = True, True
        found = ({'segmentation': large, 'predicted_iou': 0.9}, {'segmentation': small, 'predicted_iou': 0.8})
        return list(found) if self.points else []


def test_sam_through_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'segment_anything', None)
    with pytest.raises(ImportError, match='pip install segment-anything'):
        SAMRegions()
    package = types.ModuleType('segment_anything')
    package.sam_model_registry, package.SamAutomaticMaskGenerator = {'vit_b': FakeSAM}, FakeGenerator
    monkeypatch.setitem(sys.modules, 'segment_anything', package)
    found = SAMRegions()(torch.zeros(3, 8, 12), SPEC, (4, 6), {})
    assert found[:, 0].tolist() == [0, 0, 1, -1] and found[0, 5] == 1
    assert (SAMRegions(points_per_side=0)(torch.zeros(3, 8, 12), SPEC, (4, 6), {}) == -1).all()
    with pytest.raises(ValueError, match='vit_b'):
        SAMRegions('vit_z')
