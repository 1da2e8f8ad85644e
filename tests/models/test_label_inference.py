"""Inference that ends in a label map: equal to MMSeg's full computation, in windows, with padding and flips."""

import pytest
import torch
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from parity.samples import plain_sample
from tiny_models import tiny_denseclip

from denseclip.core.placement import slide_boxes
from denseclip.models.segmentors import DenseSegTTAModel

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(43, 43))
ONE_WINDOW = dict(mode='slide', crop_size=(128, 128), stride=(85, 85))


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return tiny_denseclip().eval()


def configure(model, keep_logits=False, **test_cfg):
    model.test_cfg.clear()
    model.test_cfg.update({'mode': 'whole', **test_cfg})
    model.keep_logits = keep_logits
    return model


@pytest.mark.parametrize('size', [(64, 64), (70, 101), (50, 200), (107, 64)])
def test_windows_are_mmsegs(size):
    boxes = slide_boxes(size, (64, 64), (43, 43))
    covered = torch.zeros(size)
    for top, bottom, left, right in boxes:
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    assert {(bottom - top, right - left) for top, bottom, left, right in boxes} == {
        (min(size[0], 64), min(size[1], 64))
    }
    assert boxes[-1][1::2] == size


@pytest.mark.parametrize('window_batch', [1, 2, 5])
@torch.no_grad()
def test_sliding_logits_equal_mmsegs(model, window_batch):
    configure(model, **SLIDE, window_batch=window_batch)
    image, meta = torch.randn(1, 3, 70, 101), dict(img_shape=(70, 101), ori_shape=(70, 101))
    ours = model.slide_inference(image, [meta])
    theirs = EncoderDecoder.slide_inference(model, image, [dict(meta)])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    if window_batch == 1:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('test_cfg', [dict(), SLIDE, ONE_WINDOW], ids=['whole', 'slide', 'one window'])
@pytest.mark.parametrize('ori_shape', [(33, 47), (140, 200)])
@torch.no_grad()
def test_label_map_equals_argmax_of_logits(model, test_cfg, ori_shape):
    image = torch.randn(1, 3, 70, 101)
    configure(model, keep_logits=True, **test_cfg)
    logits = model.predict(image, [plain_sample((70, 101), ori_shape)])[0].seg_logits.data
    configure(model, **test_cfg)
    sample = model.predict(image, [plain_sample((70, 101), ori_shape)])[0]
    assert 'seg_logits' not in sample
    assert torch.equal(sample.pred_sem_seg.data, logits.argmax(0, keepdim=True))


@pytest.mark.parametrize('test_cfg', [dict(), SLIDE, ONE_WINDOW], ids=['whole', 'slide', 'one window'])
@torch.no_grad()
def test_padding_is_cut_away(model, test_cfg):
    image = torch.randn(2, 3, 96, 96)
    results = []
    for keep in (True, False):
        samples = [plain_sample((96, 96), (40, 50)), plain_sample((96, 96), (60, 30))]
        samples[0].set_metainfo(dict(img_padding_size=(0, 16, 0, 32)))
        samples[1].set_metainfo(dict(padding_size=(8, 0, 4, 0)))
        configure(model, keep_logits=keep, **test_cfg)
        results.append([s.pred_sem_seg.data for s in model.predict(image, samples)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@torch.no_grad()
def test_works_without_samples(model):
    configure(model)
    assert model.predict(torch.randn(2, 3, 64, 96))[1].pred_sem_seg.data.shape == (1, 64, 96)


@torch.no_grad()
def test_augmentation_switches_logits_on_and_averages_probabilities(model):
    configure(model)
    augmented = DenseSegTTAModel(module=model)
    assert model.keep_logits
    image = torch.randn(3, 64, 96)
    views = [(image, False), (image.flip(-1), True)]
    data = dict(
        inputs=[[view] for view, _ in views],
        data_samples=[[plain_sample((64, 96), (60, 90), flip)] for _, flip in views],
    )
    model.data_preprocessor = torch.nn.Identity()
    model.data_preprocessor.forward = lambda d, training=False: {**d, 'inputs': torch.stack(d['inputs'])}
    result = augmented.test_step(data)[0].pred_sem_seg.data
    mean = torch.stack(
        [
            model.predict(view[None], [plain_sample((64, 96), (60, 90), flip)])[0].seg_logits.data.softmax(0)
            for view, flip in views
        ]
    ).mean(0)
    assert torch.equal(result.reshape(60, 90), mean.argmax(0))
