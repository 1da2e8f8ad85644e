"""The open-vocabulary segmentor: every preset, any batch, any size, any vocabulary."""

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import CLASSES, READY, TINY_DINO, tiny_open_vocab

from denseclip.core.placement import Placement, resize, size_of
from denseclip.models.functional.open_vocab import merge_names
from denseclip.models.functional.pamr import pamr

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))


def pictures(n=1, height=64, width=80, seed=0):
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def labels(model, images, ori_shape=None):
    samples = [SegDataSample(metainfo={'ori_shape': ori_shape or images.shape[2:]}) for _ in images]
    return torch.cat([s.pred_sem_seg.data for s in model.predict(images, samples)])


def read(model, images, what='head_logits'):
    """What a model says of pictures without padding while it is shown their regions."""
    placements = [Placement.of({}, size_of(images)) for _ in images]
    with model.viewing(images, [SegDataSample() for _ in images], placements):
        return getattr(model, what)(images)


@pytest.mark.parametrize('name', READY)
@torch.no_grad()
def test_every_preset_answers_alike_in_any_batch(name):
    model = tiny_open_vocab(name)
    images = pictures(4)
    together = read(model, images)
    alone = torch.cat([read(model, image[None]) for image in images])
    assert together.shape[:2] == (4, model.num_channels())
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.flatten(2).std(dim=2).amax() > 1e-4  # the picture matters


def test_presets_differ():
    images = pictures()
    with torch.no_grad():
        dense = {name: read(tiny_open_vocab(name), images, 'dense_features') for name in READY}
    same = {(a, b) for a in dense for b in dense if a < b and dense[a].shape == dense[b].shape}
    equal = {pair for pair in same if torch.allclose(dense[pair[0]], dense[pair[1]], atol=1e-4)}
    # These differ in words, padding and what is done to scores.
    as_values = {('maskclip', 'maskclip_orig'), ('lposs', 'maskclip'), ('lposs', 'maskclip_orig')}
    assert equal == {*as_values, ('dinotxt', 'talk2dino')}


@pytest.mark.parametrize('name', ['maskclip', 'sclip'])
@torch.no_grad()
def test_windows_one_by_one_and_in_batches(name):
    model = tiny_open_vocab(name, test_cfg=SLIDE)
    images, found = pictures(1, 96, 150), []
    for window_batch in (1, 8):
        model.test_cfg['window_batch'] = window_batch
        found.append(model.slide_inference(images, []))
    assert torch.allclose(*found, atol=1e-5)


@pytest.mark.parametrize('size', [(1, 1), (17, 900), (50, 33)])
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), SLIDE], ids=['whole', 'slide'])
@pytest.mark.parametrize('name', ['maskclip', 'sclip'])
def test_pictures_of_any_size(name, size, test_cfg):
    model = tiny_open_vocab(name, test_cfg=test_cfg)
    found = labels(model, pictures(1, *size))
    assert found.shape == (1, *size) and int(found.max()) < len(CLASSES)
    model.keep_logits = True
    assert (labels(model, pictures(1, *size)) == found).float().mean() > 0.999


def test_padding_does_not_move_labels():
    """Patches wholly inside give the same labels whether or not the picture ends with a part of a patch."""
    model = tiny_open_vocab('maskclip')
    image = pictures(1, 64, 90)
    whole = model.pad(image)
    assert whole.shape[2:] == (64, 96)
    black = (whole * torch.tensor(model.tower.preprocess.std).view(1, 3, 1, 1)) + torch.tensor(
        model.tower.preprocess.mean
    ).view(1, 3, 1, 1)
    assert black[..., 90:].abs().max() < 1e-6 and torch.equal(whole[..., :90], image)
    assert torch.equal(labels(model, image), labels(model, whole)[..., :90])
    stretched = tiny_open_vocab('maskclip', stretch=True)
    assert not torch.equal(labels(stretched, image), labels(model, image))


@pytest.mark.parametrize('names', [['road'], [f'thing {k}' for k in range(1203)]], ids=['1', '1203'])
@pytest.mark.parametrize('name', ['maskclip', 'sclip'])
def test_vocabularies_of_any_size(name, names):
    model = tiny_open_vocab(name, vocabulary=names, templates='plain')
    found = labels(model, pictures())
    assert found.dtype == torch.int64 and int(found.max()) < len(names) == model.num_classes
    assert model.dataset_meta['classes'] == tuple(names)


def test_text_is_encoded_once_for_all_windows(monkeypatch):
    model = tiny_open_vocab('maskclip', test_cfg={**SLIDE, 'window_batch': 2})
    calls = []
    encode = model.text.tower.encode
    monkeypatch.setattr(model.text.tower, 'encode', lambda *args: calls.append(1) or encode(*args))
    for _ in range(2):
        labels(model, pictures(1, 100, 100))
    assert len(calls) == 1
    model.set_vocabulary('cat; dog')
    assert len(calls) == 1 and model.num_classes == 2
    labels(model, pictures())
    assert len(calls) == 2


def test_names_of_a_class_are_merged_by_the_best():
    model = tiny_open_vocab('sclip')
    assert model.num_channels() == 7 and model.num_classes == 5
    image = pictures()
    model.keep_logits = True
    with torch.no_grad():
        sample = model.predict(image)[0]
        rows = model.encode_decode(image)[0]
    expected = torch.stack([rows[0], rows[1], rows[2:5].amax(0), rows[5], rows[6]]).argmax(0)
    assert torch.equal(sample.pred_sem_seg.data[0], expected)
    assert sample.seg_logits.data.shape == (5, 64, 80)


def test_background_policies():
    image = pictures()
    below = {'classes': CLASSES[1:], 'background': 'threshold', 'threshold': 1.1}
    model = tiny_open_vocab('maskclip', vocabulary=below)
    assert model.num_classes == 5 and (labels(model, image) == 4).all()
    model.set_vocabulary({**below, 'threshold': 0.0})
    assert (labels(model, image) < 4).all()
    model = tiny_open_vocab('maskclip', post=dict(prob_threshold=1.1))
    assert (labels(model, image) == 0).all()  # the class called background
    model.set_vocabulary('cat; dog')
    with pytest.raises(ValueError, match="class called 'background'"):
        labels(model, image)
    with pytest.raises(ValueError, match='no learned background'):
        model.set_vocabulary({'classes': ['a', 'b'], 'background': 'learned'})


@pytest.mark.parametrize('post', [dict(pamr=dict(iterations=2)), dict(key_smoothing=1.0), dict(prompt_denoising=0.99)])
def test_post_processing_changes_scores(post):
    images, plain = pictures(2), tiny_open_vocab('maskclip')
    model = tiny_open_vocab('maskclip', post=post)
    plain.keep_logits = model.keep_logits = True
    with torch.no_grad():
        ours, theirs = (torch.stack([s.seg_logits.data for s in m.predict(images)]) for m in (model, plain))
    assert ours.shape == theirs.shape and bool(torch.isfinite(ours).all())
    assert not torch.allclose(ours, theirs, atol=1e-4)


def test_flipped_pictures_give_flipped_scores_back():
    model = tiny_open_vocab('maskclip')
    image = pictures()
    samples = [SegDataSample(metainfo=dict(ori_shape=(64, 80), flip=True, flip_direction='horizontal'))]
    with torch.no_grad():
        turned = model.predict(image, samples)[0]
        straight = model.predict(image)[0]
    assert torch.equal(turned.pred_sem_seg.data, straight.pred_sem_seg.data.flip(2))


def test_resnet_reads_values():
    model = tiny_open_vocab('maskclip', model='RN50')
    found = labels(model, pictures(2, 70, 100))
    assert found.shape == (2, 70, 100)
    with torch.no_grad():
        assert model.dense_features(pictures(1, 70, 100)).shape == (1, 16, 3, 4)
    with pytest.raises(ValueError, match='ResNetTower is read as trained'):
        tiny_open_vocab('sclip', model='RN50')


def test_state_goes_around_and_a_checkpoint_beats_the_config(tmp_path):
    model, image = tiny_open_vocab('naclip'), pictures()
    torch.save(model.parts.clip.model.state_dict(), tmp_path / 'clip.pt')
    other = tiny_open_vocab('naclip', seed=1)
    assert not torch.equal(labels(other, image), labels(model, image))
    other.load_state_dict(model.state_dict())
    assert torch.equal(labels(other, image), labels(model, image))
    lazy = tiny_open_vocab('naclip', seed=2)
    lazy.parts.pretrained, lazy.parts.has_weights = str(tmp_path / 'clip.pt'), False
    assert torch.equal(labels(lazy, image), labels(model, image))  # read at the first use
    lazy.parts.pretrained, lazy.parts.has_weights = 'nowhere.pt', False
    lazy.load_state_dict(model.state_dict())
    assert torch.equal(labels(lazy, image), labels(model, image))  # not asked for any more


def test_class_embeddings_from_elsewhere():
    model = tiny_open_vocab('maskclip')
    with torch.no_grad():
        expected = model.head_logits(pictures())
        given = 3 * model.class_embeddings().embeddings
        model.set_class_embeddings(given, CLASSES)
        assert torch.allclose(model.head_logits(pictures()), expected, atol=1e-5)
    with pytest.raises(ValueError, match='4 embeddings for 5 classes with 7 names'):
        model.set_class_embeddings(given[:4], CLASSES)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="output='logits' is unknown"):
        tiny_open_vocab('maskclip', output='logits')
    with pytest.raises(ValueError, match='need each other'):
        tiny_open_vocab('maskclip', affinity=dict(type='DINOAffinity', dino=TINY_DINO))
    with pytest.raises(NotImplementedError, match='nothing to train'):
        tiny_open_vocab('maskclip').loss(pictures(), [])
    with pytest.raises(ValueError, match='no vocabulary yet'):
        tiny_open_vocab('maskclip', vocabulary=None).head_logits(pictures())


@pytest.mark.parametrize('padding', [dict(img_shape=(24, 40)), dict(img_padding_size=(0, 8, 0, 8))])
@torch.no_grad()
def test_padding_noted_in_mmdets_way_is_cut_off_as_mmsegs_is(padding):
    model = tiny_open_vocab('maskclip')
    picture = torch.randn(1, 3, 24, 40)
    padded = torch.nn.functional.pad(picture, (0, 8, 0, 8))
    sample = SegDataSample(metainfo=dict(padding, ori_shape=(24, 40)))
    labels = model.predict(padded, [sample])[0].pred_sem_seg.data
    expected = model.predict(padded, [SegDataSample()])[0].pred_sem_seg.data[:, :24, :40]
    assert torch.equal(labels, expected)


@torch.no_grad()
def test_pamr_works_in_the_size_of_the_original_picture():
    """As in NACLIP's code: scores and picture are resized first."""
    refined = dict(iterations=3, dilations=(1, 2))
    plain, fine = (tiny_open_vocab('naclip', post=post, test_cfg=SLIDE) for post in ({}, dict(pamr=refined)))
    images, size = pictures(1, 96, 150), (130, 200)
    cosines = resize(plain.slide_inference(images, [])[0], size)
    rows = pamr(resize(images, size), cosines[None], **refined)[0]
    wanted = merge_names((rows * 40).softmax(dim=0), plain.text().class_index, len(CLASSES))
    sample = SegDataSample(metainfo={'ori_shape': size})
    fine.keep_logits = True
    found = fine.predict(images, [sample])[0]
    assert torch.allclose(found.seg_logits.data, wanted / wanted.sum(dim=0), atol=1e-5)
    assert (found.pred_sem_seg.data[0] == wanted.argmax(dim=0)).float().mean() > 0.999


@torch.no_grad()
def test_naclip_divides_scores_by_their_sum_after_the_threshold():
    images, found = pictures(), {}
    model = tiny_open_vocab('naclip', post=dict(normalize=False))
    model.keep_logits = True
    threshold = float(model.predict(images)[0].seg_logits.data.amax(dim=0).median())
    for divided in (True, False):
        post = dict(background=0, prob_threshold=threshold, **({} if divided else dict(normalize=False)))
        model = tiny_open_vocab('naclip', post=post)
        model.keep_logits = True
        found[divided] = model.predict(images, [SegDataSample()])[0]
    scores, kept = found[True].seg_logits.data, found[False].seg_logits.data
    assert torch.allclose(scores.sum(dim=0), torch.ones_like(scores[0]), atol=1e-5)
    assert torch.allclose(scores, kept / kept.sum(dim=0), atol=1e-6) and float(kept.sum(dim=0).min()) < 0.99
    assert torch.equal(found[True].pred_sem_seg.data, found[False].pred_sem_seg.data)
    unsure = kept.amax(dim=0) < threshold
    assert bool(unsure.any()) and bool((found[True].pred_sem_seg.data[0][unsure] == 0).all())
