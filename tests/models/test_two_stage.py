"""Two-stage segmentation: every switch, and every input on which the published code stops."""

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_two_stage import CLASSES, random_embeddings, random_masks, tiny_clip, tiny_two_stage

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.mask_prompts import encode_with_masks
from denseclip.models.segmentors import ScoreAverageTTAModel, TwoStageSegmentor
from denseclip.structures.deciders import DECIDERS

NOWHERE = torch.full((4, 8, 10), -20.0)
STAGES = ('both', 'first', 'second')


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(3))


def one_mask():
    """Four masks, of which one has pixels."""
    masks = NOWHERE.clone()
    masks[2, 2:6, 2:6] = 8
    return masks


@torch.no_grad()
def labels(model, images, **meta):
    samples = [SegDataSample(metainfo=meta) for _ in images]
    return torch.cat([sample.pred_sem_seg.data for sample in model.predict(images, samples)])


@pytest.mark.parametrize('selection', ['all', 'best'])
@pytest.mark.parametrize('stages', STAGES)
@pytest.mark.parametrize('masks', [NOWHERE, one_mask(), random_masks(5)], ids=['none', 'one', 'five'])
def test_any_number_of_valid_masks(images, masks, stages, selection):
    model = tiny_two_stage(masks, random_embeddings(len(masks)), stages=stages, selection=selection)
    found = labels(model, images, ori_shape=(50, 61))
    assert found.shape == (2, 50, 61) and found.dtype == torch.int64
    assert found.min() >= 0 and found.max() < model.num_classes


def test_without_a_valid_mask_the_first_stage_decides(images):
    both, first, second = (tiny_two_stage(NOWHERE, random_embeddings(4), stages=stages) for stages in STAGES)
    assert torch.equal(first.head_logits(images), second.head_logits(images))
    assert torch.equal(labels(second, images), labels(first, images))
    assert both.head_logits(images).isfinite().all()


@pytest.mark.parametrize('background', ['none', 'prompts', 'learned'])
@pytest.mark.parametrize('selection', ['all', 'best'])
def test_a_single_class(images, selection, background):
    names = dict(background_names=['something else']) if background == 'prompts' else {}
    words = Vocabulary.of(dict(classes=['zebra'], background=background, **names))
    model = tiny_two_stage(one_mask(), vocabulary=words, selection=selection)
    found = labels(model, images)
    inside, outside = found[:, 10:20, 10:20], found[:, 28:, 36:]
    if background == 'none' and selection == 'all':
        assert not found.any()
    elif selection == 'best' or background == 'learned':
        assert (outside == 1).all()
    if background == 'learned':
        assert (inside == 0).all()


def test_one_name_is_told_apart_from_others():
    model = tiny_two_stage(vocabulary=['zebra'], selection='best')
    assert model.vocabulary.background_names == ('others',) and model.text.names == ('zebra', 'background')
    assert model.dataset_meta['classes'] == ('zebra', 'background')
    names = ['zebra']
    model.set_vocabulary(names)
    assert names == ['zebra']
    model.set_vocabulary('zebra; lion')
    assert model.vocabulary.background == 'learned' and model.num_classes == 3


def test_classes_that_the_data_set_has_no_entry_for(images):
    model = tiny_two_stage()
    model.dataset_meta['palette'] = [[0, 0, 0]] * 3
    model.set_vocabulary(CLASSES[::-1])
    assert len(model.dataset_meta['palette']) == 3
    model.set_vocabulary([*CLASSES, 'okapi'])
    assert 'palette' not in model.dataset_meta and len(model.dataset_meta['classes']) == 4
    assert labels(model, images).max() < 4


def test_blank_where_nothing_fits_and_who_decided(images):
    model = tiny_two_stage(one_mask(), random_embeddings(4), selection='best', ensemble_weight=0.5)
    sample = SegDataSample()
    model.predict(images[:1], [sample])
    found = sample.pred_sem_seg.data[0]
    assert (found[8:24, 8:24] < 3).any() and (found[28:] == 3).all()
    chosen = sample.mask_classes
    assert len(chosen) and all(0 <= who < len(DECIDERS) for who in chosen.decided_by.tolist())
    assert (chosen.labels < 3).all() and chosen.scores.isfinite().all()


def test_masks_without_embeddings_leave_it_to_clip(images):
    model = tiny_two_stage(selection='best', stages='second')
    sample = SegDataSample()
    model.predict(images[:1], [sample])
    assert {DECIDERS[who] for who in sample.mask_classes.decided_by.tolist()} == {'CLIP'}


def test_stages_and_weights(images):
    embeddings = random_embeddings(6)

    def scores(**settings):
        return tiny_two_stage(embeddings=embeddings, **settings).head_logits(images)

    first, second = scores(stages='first'), scores(stages='second')
    assert torch.allclose(scores(region_classifier=None), first)
    assert torch.allclose(scores(ensemble_weight=0.0), first, atol=1e-5)
    assert torch.allclose(scores(ensemble_weight=1.0), second, atol=1e-4)
    assert not torch.allclose(first, second, atol=1e-2)


def test_labels_are_the_argmax_of_the_scores(images):
    model = tiny_two_stage(embeddings=random_embeddings(6))
    few = labels(model, images, ori_shape=(45, 70))
    model.keep_logits = True
    samples = model.predict(images, [SegDataSample(metainfo=dict(ori_shape=(45, 70))) for _ in images])
    scores = torch.stack([sample.seg_logits.data for sample in samples])
    assert scores.shape == (2, 3, 45, 70)
    assert (few == scores.argmax(1)).float().mean() > 0.999  # the resized planes may tie in the last bit


def test_padding_is_no_part_of_it(images):
    logits = torch.nn.functional.interpolate(random_masks(6)[None], size=(32, 40), mode='bilinear')[0]
    plain = tiny_two_stage(logits)
    padded = tiny_two_stage(torch.nn.functional.pad(logits, (0, 24, 0, 32), value=3.0))
    wide = torch.nn.functional.pad(images, (0, 24, 0, 32))
    meta = dict(img_shape=(32, 40), ori_shape=(64, 80))
    assert torch.equal(labels(plain, images, **meta), labels(padded, wide, **meta))


def test_vocabulary_at_any_time(images):
    model = tiny_two_stage()
    first = model.head_logits(images)
    model.set_vocabulary('sky; car=automobile; road; tree')
    assert model.head_logits(images).shape[1] == 4
    model.set_vocabulary(CLASSES)
    assert torch.equal(model.head_logits(images), first)
    best = tiny_two_stage(merge='max')
    assert best.text_rows()[1].tolist() == [1, 2, 1] and best.head_logits(images).shape[1] == 3
    with pytest.raises(ValueError, match="'learned'"):
        model.set_vocabulary(dict(classes=['a'], background='threshold', threshold=0.5))


def test_flipped_views_are_turned_back(images):
    # Crops of mirrored masks are mirrored, so only the geometry is compared: labels of the first stage.
    masks, embeddings = random_masks(6), random_embeddings(6)
    plain, mirrored = (tiny_two_stage(m, embeddings, stages='first') for m in (masks, masks.flip(2)))
    found = labels(mirrored, images.flip(3), flip=True, flip_direction='horizontal')
    assert torch.equal(found, labels(plain, images))


def test_averaging_views(images):
    model = ScoreAverageTTAModel(module=tiny_two_stage(embeddings=random_embeddings(6), stages='first'))
    views = []
    for scale in (0.0, 2.0):
        sample = SegDataSample(seg_logits=PixelData(data=torch.full((3, 4, 4), scale)))
        sample.seg_logits.data[1] += scale
        views.append(sample)
    merged = model.merge_preds([views])[0]
    assert torch.equal(merged.seg_logits.data[1], torch.full((4, 4), 2.0)) and (merged.pred_sem_seg.data == 1).all()
    pictures = [picture.mul(60).add(120).clamp(0, 255).byte() for picture in images]
    meta = dict(ori_shape=(32, 40), img_shape=(32, 40))
    batch = {
        'inputs': [[picture] for picture in pictures],
        'data_samples': [
            [SegDataSample(metainfo={**meta, 'flip': flip, 'flip_direction': 'horizontal'})] for flip in (False, True)
        ],
    }
    assert model.test_step(batch)[0].pred_sem_seg.data.shape == (1, 32, 40)


def test_sliding_windows(images):
    settings = dict(mode='slide', crop_size=(16, 20), stride=(8, 10))
    model = tiny_two_stage(test_cfg=settings)
    assert labels(model, images, ori_shape=(45, 70)).shape == (2, 45, 70)
    whole = tiny_two_stage(embeddings=random_embeddings(6), stages='first')
    one = tiny_two_stage(embeddings=random_embeddings(6), stages='first', test_cfg={**settings, 'crop_size': (32, 40)})
    assert (labels(one, images) == labels(whole, images)).float().mean() > 0.999


@pytest.mark.parametrize('selection', ['all', 'best'])
def test_sliding_windows_leave_the_same_pixels_blank(images, selection):
    words = Vocabulary.of(dict(classes=['zebra', 'lion'], background='learned'))
    settings = dict(vocabulary=words, selection=selection)
    slide = dict(mode='slide', crop_size=(32, 40), stride=(32, 40))
    whole = tiny_two_stage(one_mask(), random_embeddings(4), **settings)
    model = tiny_two_stage(one_mask(), random_embeddings(4), test_cfg=slide, **settings)
    expected = labels(whole, images)
    assert (expected == 2).any() and (expected < 2).any()
    assert torch.equal(labels(model, images), expected)


@pytest.mark.parametrize('selection', ['all', 'best'])
@pytest.mark.parametrize('stages', STAGES)
def test_a_proposer_that_finds_nothing(images, stages, selection):
    words = dict(classes=['zebra', 'lion'], background='learned')
    model = tiny_two_stage(
        torch.zeros(0, 8, 10), random_embeddings(0), stages=stages, selection=selection, vocabulary=words
    )
    assert (labels(model, images) == 2).all()


def test_checkpoints(tmp_path):
    model = tiny_two_stage()
    state = model.state_dict()
    assert {key.split('.')[0] for key in state} == {'text', 'region_classifier', 'proposer'}
    other = TwoStageSegmentor(tiny_clip(5), templates='photo', region_classifier=dict(prompt_depth=2))
    own = {key: value for key, value in state.items() if not key.startswith('proposer')}
    other.load_state_dict(own)
    assert torch.equal(other.region_classifier.mask_embedding, model.region_classifier.mask_embedding)
    missing = {key: value for key, value in own.items() if 'mask_embedding' not in key}
    with pytest.raises(RuntimeError, match='mask_embedding'):
        other.load_state_dict(missing)
    # With a source of its own CLIP stays out of files, until a file has brought it.
    torch.save(model.parts.clip.model.state_dict(), tmp_path / 'clip.pt')
    from_file = TwoStageSegmentor(
        dict(model='ViT-B-16', pretrained=str(tmp_path / 'clip.pt'), arch=tiny_clip().clip.config, quick_gelu=True),
        templates='photo',
        region_classifier={},
        vocabulary=CLASSES,
    )
    assert not from_file.state_dict()
    from_file.load_state_dict({})
    assert torch.equal(from_file.text().embeddings, model.text().embeddings)
    from_file.load_state_dict({k: v for k, v in own.items() if 'mask_embedding' not in k})
    assert from_file.state_dict()


def test_what_cannot_be_built(images):
    for settings, message in (
        (dict(stages='third'), "stages='third'"),
        (dict(selection='some'), "selection='some'"),
        (dict(stages='second', region_classifier=None), 'needs a region_classifier'),
        (dict(region_classifier=dict(clip=dict(model='ViT-L-14'))), 'give the adapted CLIP as clip='),
    ):
        with pytest.raises(ValueError, match=message):
            tiny_two_stage(**settings)
    with pytest.raises(ValueError, match='nothing that finds masks'):
        TwoStageSegmentor(tiny_clip(), vocabulary=CLASSES).predict(images)
    with pytest.raises(ValueError, match='no vocabulary'):
        tiny_two_stage(vocabulary=None).predict(images)
    with pytest.raises(NotImplementedError, match='OVSeg trains'):
        tiny_two_stage().loss(images, [])


def test_on_another_device():
    """Up to the boxes of the masks, whose number depends on what is in them."""
    model = tiny_two_stage(embeddings=random_embeddings(6), stages='first')
    with fake_cuda() as mode, torch.no_grad():
        move_to_fake_cuda(model, mode)
        images = torch.randn(2, 3, 32, 40)
        assert model.predict(images)[0].pred_sem_seg.data.device.type == 'cuda'
        classifier = move_to_fake_cuda(tiny_two_stage().region_classifier, mode)
        found = classifier.encode(torch.randn(5, 3, 32, 32), torch.ones(5, 32, 32, dtype=torch.bool))
        assert found.device.type == 'cuda' and found.shape == (5, 16)
    model = tiny_two_stage().to('meta')
    with meta_device():
        tower = model.region_classifier
        tower.mask_embedding.requires_grad_(True)
        masks = torch.ones(5, 32, 32, dtype=torch.bool)
        encode_with_masks(tower.tower, torch.randn(5, 3, 32, 32), masks, tower.mask_embedding).sum().backward()
        assert tower.mask_embedding.grad.device.type == 'meta'
