"""A classifier for each picture: what it is fitted to, whom it follows, and that pictures never see one another."""

import pytest
import torch
import torch.nn.functional as F
from drawn_heads import WORDS
from tiny_models import tiny_denseclip
from tiny_open_vocab import READY, tiny_open_vocab

from denseclip.clip.presets import preset
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional import picture_classifier
from denseclip.models.functional.picture_classifier import PictureFit, picture_rows
from denseclip.models.pixel_head import PixelTexts
from denseclip.models.pixel_samples import head_of, labelled_picture
from denseclip.models.retrieval_fit import RegionGathering
from denseclip.models.retrieval_head import LinearHead, PixelRNSHead

QUICK = PictureFit(steps=60, rate=0.02)
SLIDE = {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32)}


def head_over(model, names, seed=0, fit=QUICK):
    dim = model.decode_head.embed_dim if hasattr(model, 'decode_head') else model.tower.embed_dim
    regions = F.normalize(torch.randn(2 * len(names), dim, generator=torch.Generator().manual_seed(seed)), dim=1)
    return PixelRNSHead(tuple(names), regions, torch.arange(len(names)).repeat(2), {}, WORDS, fit)


def far_apart():
    """A picture of three classes far apart, words that cannot tell the first two, and regions of these."""
    means, texts = torch.eye(3, 32), torch.eye(3, 32)
    texts[0] = texts[1] = (means[0] + means[1]) / 2**0.5
    labels = torch.arange(3).repeat_interleave(16)
    cells = F.normalize(means[labels] + 0.03 * torch.randn(48, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    head = PixelRNSHead(('automobile', 'sky'), means[[1, 0]], torch.arange(2), {}, WORDS, PictureFit())
    return cells.T.view(1, 32, 6, 8), texts, labels.view(6, 8), head


@pytest.mark.parametrize('order', [[0, 1, 2], [2, 0, 1]])
def test_regions_correct_words_and_classes_without_regions_keep_theirs(order):
    features, texts, labels, head = far_apart()
    words = Vocabulary.parse('; '.join(WORDS.names[k] if k != 1 else 'car = automobile' for k in order))
    logits = torch.einsum('ndhw,kd->nkhw', features, texts)[:, order] * 100
    assert (logits.argmax(1)[0] == torch.tensor(order).argsort()[labels]).float().mean() < 0.7
    found = head(logits, features, words, PixelTexts(texts[None, order], 100.0))
    assert torch.equal(torch.tensor(order)[found.argmax(1)[0]], labels)


# Trident puts windows together before pixels have embeddings: it takes no heads.
TAKERS = [name for name in READY if 'sam' not in preset(name).model]


@pytest.mark.parametrize('name', [*TAKERS, 'merge=max', 'denseclip'])
@pytest.mark.parametrize('slide', [False, True])
def test_each_picture_is_labelled_as_if_it_were_alone(name, slide):
    settings = {'test_cfg': SLIDE} if slide else {}
    if name == 'denseclip':
        model = tiny_denseclip(open_vocabulary=True, text_head='raw', **settings).eval()
        model.set_vocabulary(WORDS)
    else:
        maximum = {'merge': 'max', 'output': 'cosines'} if name == 'merge=max' else {}
        model = tiny_open_vocab('maskclip' if maximum else name, vocabulary=WORDS, **maximum, **settings)
    pictures = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        plain = model.predict(pictures)
        with head_of(model, head_over(model, WORDS.names[:2])):
            both = [sample.pred_sem_seg.data for sample in model.predict(pictures)]
            alone = model.predict(pictures[1:])[0].pred_sem_seg.data
        assert (both[1] == alone).float().mean() > 0.99
        rigged = head_over(model, WORDS.names[:2])
        rigged.classifier = lambda cells, *_: LinearHead(torch.zeros(cells.shape[1], 3), torch.tensor([0.0, 1e4, 0.0]))
        with head_of(model, rigged):
            assert all((sample.pred_sem_seg.data == 1).all() for sample in model.predict(pictures))
        assert torch.equal(model.predict(pictures)[0].pred_sem_seg.data, plain[0].pred_sem_seg.data)


@pytest.mark.parametrize('slide', [False, True])
def test_padding_is_not_fitted_to(slide):
    model = tiny_open_vocab(vocabulary=WORDS, **({'test_cfg': SLIDE} if slide else {}))
    picture = torch.randn(1, 3, 64, 64)
    wide = torch.cat([picture, torch.full((1, 3, 64, 64), 9.0)], dim=3)
    sample = model.predict(wide)[0]
    sample.set_metainfo({'img_shape': (64, 64), 'ori_shape': (64, 64), 'img_padding_size': (0, 64, 0, 0)})
    seen = []
    head = head_over(model, WORDS.names[:2])
    fitted = head.classifier
    head.classifier = lambda features, *rest: seen.append(len(features)) or fitted(features, *rest)
    with torch.inference_mode(), head_of(model, head):
        model.predict(wide, [sample])
    assert seen == [16 + (16 // 2) * slide]  # the window in the middle shows half of the picture once more


def test_regions_are_retrieved_some_cells_at_a_time(monkeypatch):
    features, regions, texts = (F.normalize(torch.randn(n, 8), dim=1) for n in (40, 9, 3))
    guesses, owners = torch.arange(40) % 3, torch.arange(9) % 2
    given = features, guesses, regions, owners, texts, 100.0, QUICK
    whole = picture_rows(*given)
    monkeypatch.setattr(picture_classifier, '_COSINES', 1)
    parts = picture_rows(*given)
    for name in ('features', 'targets', 'weights'):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


def test_regions_weigh_cells_by_their_pixels_and_halves_add_up():
    model = tiny_open_vocab(vocabulary=WORDS)
    truth = torch.full((64, 96), -1)
    truth[:, :24], truth[:8, 48:] = 0, 2  # 24 is one and a half patches of 16
    sample = model.predict(torch.randn(1, 3, 64, 96))[0]
    picture = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        seen = labelled_picture(model, picture, sample, truth, 3)
        assert labelled_picture(model, picture, sample, truth).regions is None
        unit = F.normalize(model.dense_features(picture)[0], dim=0)
    expected = unit[:, :, 0].sum(1) * 256 + unit[:, :, 1].sum(1) * 128
    torch.testing.assert_close(seen.regions.sum(0)[0], expected, rtol=1e-4, atol=1e-3)
    assert not seen.regions[1, 0].any() and not seen.regions[:, 1].any() and not seen.regions[0, 2].any()
    for pictures in (1, 2):
        gathering = RegionGathering(WORDS, pictures)
        for _ in range(pictures):
            gathering.add(seen)
        assert [len(part.rows) for part in gathering.regions] == ([1, 1] if pictures == 1 else [2, 2])  # no zeros
        head, choice = gathering.head({})
        assert head.names == ('sky', 'road') and head.owners.tolist() == [0, 1] * pictures
        assert 0 <= choice.miou <= 100 and choice.alpha is None
        torch.testing.assert_close(head.regions[0], F.normalize(expected, dim=0), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match='no pixel'):
        RegionGathering(WORDS, 1).head({})
