"""What embeddings of pixels say beside labels: all of it from the run that labels; and backgrounds made of it."""

from dataclasses import replace

import pytest
import torch
from drawn_heads import WORDS, gaussians
from tiny_models import tiny_denseclip
from tiny_open_vocab import tiny_open_vocab

from denseclip.core.placement import Windows
from denseclip.models.pixel_samples import head_of, passing
from denseclip.models.pixel_trail import PixelRequest

SLIDE = {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32), 'window_batch': 2}
PADDED = (70, 90)  # to whole patches, so that windows reach beyond the picture


def made(kind, mode):
    torch.manual_seed(0)
    if kind == 'denseclip':
        model = tiny_denseclip(open_vocabulary=True, text_head='raw', test_cfg=mode).eval()
        model.set_vocabulary(WORDS)
        return model, torch.randn(2, 3, 96, 96), model.decode_head.embed_dim
    model = tiny_open_vocab(kind, vocabulary=WORDS, test_cfg=mode)
    return model, torch.randn(2, 3, *PADDED), model.tower.embed_dim


def runs(model):
    """How often the model's image network is run, from now on."""
    count = []
    (model.tower if hasattr(model, 'tower') else model.backbone).register_forward_pre_hook(lambda *_: count.append(1))
    return count


@pytest.mark.parametrize('mode', [{}, SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('kind', ['naclip', 'denseclip'])
@torch.no_grad()
def test_one_run_gives_labels_strangeness_and_embeddings(kind, mode):
    torch.manual_seed(0)
    model, pictures, width = made(kind, mode)
    head = gaussians(WORDS.names, width)
    count = runs(model)
    with head_of(model, head):
        plain = [sample.pred_sem_seg.data for sample in model.predict(pictures)]
        alone = len(count)
        model.pixel_request = PixelRequest(strangeness=True, features=True)
        samples = model.predict(pictures)
        assert len(count) == 2 * alone  # as often as without
        model.pixel_request = PixelRequest()
        assert 'strangeness' not in model.predict(pictures)[0] and model._trail is None
    for n, sample in enumerate(samples):
        assert torch.equal(sample.pred_sem_seg.data, plain[n])
        placement, boxes, windows = passing(model, pictures[n : n + 1], sample)
        seen = [window.features for window in windows]
        maps = [head.strangeness(features)[0] for features in seen]
        expected = placement.finish(Windows(boxes, placement.padded).mean(maps))
        torch.testing.assert_close(sample.strangeness.data, expected, atol=2e-3, rtol=0)
        assert sample.strangeness.data.shape == sample.pred_sem_seg.data.shape
        assert len(sample.pixel_windows.features) == len(seen)
        for kept, features in zip(sample.pixel_windows.features, seen, strict=True):
            torch.testing.assert_close(kept, features[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kind', ['naclip', 'denseclip'])
@torch.no_grad()
def test_pictures_that_the_host_labels_together_keep_their_own_strangeness(kind):
    """With ``keep_logits`` MMSeg runs a window of all pictures at a time."""
    model, pictures, width = made(kind, SLIDE)
    with head_of(model, gaussians(WORDS.names, width)):
        model.pixel_request = PixelRequest(strangeness=True)
        ours = [sample.strangeness.data for sample in model.predict(pictures)]
        model.keep_logits = True
        theirs = [sample.strangeness.data for sample in model.predict(pictures)]
    assert not torch.allclose(*ours, atol=2e-3)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


@pytest.mark.parametrize('kind', ['naclip', 'maskclip', 'denseclip'])
@torch.no_grad()
def test_the_background_of_a_head_is_what_is_stranger_than_allowed(kind):
    torch.manual_seed(1)
    model, pictures, width = made(kind, {})
    with pytest.raises(ValueError, match="'denseclip adapt'"):
        model.set_vocabulary(replace(WORDS, background='gda'))
        model.predict(pictures)
    model.set_vocabulary(WORDS)
    with head_of(model, gaussians(WORDS.names, width)):
        model.pixel_request = PixelRequest(strangeness=True)
        sample = model.predict(pictures)[0]
        model.pixel_request = PixelRequest()
        plain, strange = sample.pred_sem_seg.data, sample.strangeness.data
        most = float(strange.median())
        model.set_vocabulary(replace(WORDS, background='gda', threshold=most))
        assert model.dataset_meta['classes'] == (*WORDS.names, 'background')
        found = model.predict(pictures)[0].pred_sem_seg.data
    assert 0 < (strange > most).float().mean() < 1
    assert torch.equal(found, torch.where(strange > most, 3, plain))


@pytest.mark.parametrize('mode', [{}, SLIDE], ids=['whole', 'slide'])
@torch.no_grad()
def test_a_threshold_of_denseclip_is_a_probability(mode):
    torch.manual_seed(2)
    model, pictures, _ = made('denseclip', mode)
    model.keep_logits = True
    best = model.predict(pictures)[0].seg_logits.data.softmax(dim=0).amax(dim=0)
    least = float(best.median())
    by_logits = {}
    for name, words in (('none', WORDS), ('threshold', replace(WORDS, background='threshold', threshold=least))):
        model.set_vocabulary(words)
        by_logits[name] = model.predict(pictures)[0].pred_sem_seg.data[0]
    assert torch.equal(by_logits['threshold'], torch.where(best < least, 3, by_logits['none']))
    model.keep_logits = False
    tiled = model.predict(pictures)[0].pred_sem_seg.data[0]
    assert (tiled == by_logits['threshold']).float().mean() > 0.99  # sums of windows are rounded in another order
