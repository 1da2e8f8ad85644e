"""FC-CLIP on every kind of trunk: training, inference, vocabularies, devices."""

from __future__ import annotations

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, total_loss
from mmseg.structures import SegDataSample
from tiny_fcclip import CLASSES, TRUNKS, first_queries_match, semantic_samples, stripes, tiny_fcclip

from denseclip.models.backbones import CLIPMaskTrunk
from denseclip.models.functional.vocabulary_ensemble import MaskProbabilities
from denseclip.models.segmentors import ScoreAverageTTAModel

KINDS = ('FCCLIP', 'MAFTPlus')


def options(kind: str) -> dict:
    return dict(transfer=dict(num_heads=4)) if kind == 'MAFTPlus' else {}


def sample(size: tuple[int, int], out: tuple[int, int]) -> SegDataSample:
    data = SegDataSample()
    data.set_metainfo(dict(img_shape=size, ori_shape=out))
    return data


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('trunk', TRUNKS)
def test_trains_and_segments_with_every_trunk(kind: str, trunk: str) -> None:
    model = tiny_fcclip(kind, trunk, **options(kind)).train()
    labels = torch.randint(0, 4, (2, 70, 90))
    labels[:, :20] = 255
    losses = model.loss(torch.randn(2, 3, 70, 90), semantic_samples(labels))
    assert all(torch.isfinite(value) for value in losses.values()) and 'loss_ce_1' in losses
    total_loss(losses).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f'no gradient reaches {without}'
    model.eval()
    with torch.no_grad():
        found = model.predict(torch.randn(1, 3, 70, 90), [sample((70, 90), (35, 45))])[0]
    assert found.pred_sem_seg.data.shape == (1, 35, 45) and found.pred_sem_seg.data.max() < len(CLASSES)


@pytest.mark.parametrize('kind', KINDS)
def test_the_same_weights_give_all_tasks(kind: str) -> None:
    model = tiny_fcclip(kind, things=['car', 'tree'], **options(kind))
    model.set_task(('semantic', 'panoptic', 'instance'))
    assert model.is_thing.tolist() == [False, True, False, True]
    with torch.no_grad():
        found = model.predict(torch.randn(1, 3, 64, 64))[0]
    assert found.pred_panoptic_seg.data.shape == found.pred_sem_seg.data.shape == (1, 64, 64)
    assert set(found.pred_instances.labels.tolist()) <= {1, 3}


def test_classes_may_change_at_any_time() -> None:
    model = tiny_fcclip(train_vocabulary=['sky', 'vehicle'])
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        first = model.forward(images, mode='tensor')
        model.set_vocabulary([f'thing {i}' for i in range(300)])
        assert model.forward(images, mode='tensor').class_probs.shape == (1, 6, 300)
        assert model.dataset_meta['classes'][-1] == 'thing 299' and model.num_classes == 300
        model.set_vocabulary(['grass'])  # one class takes all that is not void
        only: MaskProbabilities = model.forward(images, mode='tensor')
        torch.testing.assert_close(only.class_probs[..., 0] + only.no_object, torch.ones(1, 6))
        model.set_vocabulary(CLASSES)
        torch.testing.assert_close(model.forward(images, mode='tensor').class_probs, first.class_probs)


def test_training_has_words_of_its_own_and_forgets_none() -> None:
    model = tiny_fcclip(train_vocabulary=['a', 'b'])
    rows = torch.nn.functional.normalize(torch.randn(4, 16), dim=-1)
    model.set_class_embeddings(rows, ['p', 'q', 'r', 's'])
    images, labels = torch.randn(1, 3, 64, 64), torch.randint(0, 2, (1, 64, 64))
    with torch.no_grad():
        before = model.predict(images)[0].pred_sem_seg.data
        spoken: set[tuple[str, ...]] = set()
        model.text.register_forward_pre_hook(lambda text, _: spoken.add(text.vocabulary.names))
        model.train().loss(images, semantic_samples(labels))
        assert spoken == {('a', 'b')} and model.text.vocabulary.names == ('p', 'q', 'r', 's')
        assert torch.equal(model.eval().predict(images)[0].pred_sem_seg.data, before)
    torch.testing.assert_close(model.text().embeddings, rows)


@pytest.mark.parametrize('kind', KINDS)
def test_after_a_step_of_training_every_entrance_speaks_of_the_present_classes(kind: str) -> None:
    model = tiny_fcclip(kind, train_vocabulary=['a', 'b'], **options(kind))
    images, labels = torch.randn(1, 3, 64, 64), semantic_samples(torch.randint(0, 2, (1, 64, 64)))

    entrances = (model.encode_decode, lambda x: model.forward(x, mode='tensor').class_probs.transpose(1, 2))
    with torch.no_grad():
        for enter in entrances:
            model.set_vocabulary(CLASSES)
            before = enter(images)
            model.train().loss(images, labels)
            assert torch.equal(model.eval() and enter(images), before) and before.shape[1] == len(CLASSES)


def test_countable_classes_belong_to_the_classes_they_were_named_for() -> None:
    model = tiny_fcclip(things=['car', 'tree'])
    model.set_vocabulary('cat; dog; sky')  # by their words
    assert model.is_thing.tolist() == [True, True, False]
    model.set_vocabulary(CLASSES)
    assert model.is_thing.tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match='lorry'):
        model.set_vocabulary('cat; dog', things=['lorry'])
    assert model.vocabulary.names == ('sky', 'car', 'road', 'tree') and len(model.is_thing) == 4


def test_views_of_a_picture_are_averaged() -> None:
    model = tiny_fcclip()
    augmented = ScoreAverageTTAModel(module=model)
    assert model.keep_logits
    picture = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    views, samples = [picture, picture.flip(2)], []
    for flip in (False, True):
        samples.append(sample((64, 96), (40, 50)))
        samples[-1].set_metainfo(dict(flip=flip, flip_direction='horizontal' if flip else None))
    batch = {'inputs': [[view] for view in views], 'data_samples': [[data] for data in samples]}
    merged = augmented.test_step(batch)[0]
    alone = [
        augmented.module.test_step(dict(inputs=[view], data_samples=[sample((64, 96), (40, 50))])) for view in views
    ]
    first, second = (found[0].seg_logits.data for found in alone)
    torch.testing.assert_close(merged.seg_logits.data, (first + second.flip(2)) / 2)
    assert torch.equal(merged.pred_sem_seg.data[0], merged.seg_logits.data.argmax(0))


def test_synonyms_have_rows_of_their_own_and_void_comes_last() -> None:
    model = tiny_fcclip()
    rows, names = model.text_rows()
    assert names.tolist() == [1, 3, 1, 1] and rows.shape == (7, 16)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(7))
    torch.testing.assert_close(rows[-1:], torch.nn.functional.normalize(model.void_embedding.weight))


@pytest.mark.parametrize('kind', KINDS)
def test_a_batch_without_any_segment_trains(kind: str) -> None:
    model = tiny_fcclip(kind, **options(kind)).train()
    losses = model.loss(torch.randn(2, 3, 64, 64), semantic_samples(torch.full((2, 64, 64), 255)))
    total_loss(losses).backward()
    assert losses['loss_mask'].item() == 0 and torch.isfinite(losses['loss_ce'])


def test_many_queries_and_prompts_on_a_small_picture() -> None:
    model = tiny_fcclip(head=dict(num_queries=250))
    model.set_vocabulary([f'word {i}' for i in range(1203)])
    with torch.no_grad():
        assert model.predict(torch.randn(1, 3, 64, 64))[0].pred_sem_seg.data.shape == (1, 64, 64)


def test_padding_is_in_no_result() -> None:
    model = tiny_fcclip()
    images = torch.randn(1, 3, 50, 70)
    padded = torch.nn.functional.pad(images, (0, 26, 0, 14))
    with torch.no_grad():
        alone = model.predict(images)[0].pred_sem_seg.data
        within = model.predict(padded, [sample((50, 70), (50, 70))])[0].pred_sem_seg.data
        noted = sample((50, 70), (50, 70))
        noted.set_metainfo(dict(img_padding_size=(0, 0, 0, 0)))  # as MMSeg's data preprocessor does
        told = model.predict(images, [noted])[0]
    assert torch.equal(alone, within) and torch.equal(alone, told.pred_sem_seg.data)
    assert told.img_padding_size == (0, 0, 0, 0)
    with torch.no_grad():
        assert model.encode_decode(images).shape == (1, 4, 50, 70)


@pytest.mark.parametrize('trunk', TRUNKS)
def test_an_empty_mask_has_a_finite_embedding_and_a_mask_sees_its_pixels_only(trunk: str) -> None:
    model = tiny_fcclip(trunk=trunk)
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, 128, 128))
        side = features.last.shape[-1]
        masks = torch.full((1, 2, side, side), -1.0)
        masks[0, 1, :2] = 1
        first = model.backbone.embed_masks(features, masks)
        if trunk == 'resnet':  # its mean token sees everything
            return
        features.last[:, :, 2:] += 1
        second = model.backbone.embed_masks(features, masks)
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first[:, 1], second[:, 1])


def test_only_what_is_to_learn_learns() -> None:
    model = tiny_fcclip('MAFTPlus', **options('MAFTPlus'))
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert {n.split('.')[0] for n in learning} == {'backbone', 'head', 'transfer', 'void_embedding'}
    assert {n for n in frozen if n.startswith('backbone')} == {
        f'backbone.tower.visual.{n}' for n in ('trunk.head.norm.weight', 'trunk.head.norm.bias', 'head.proj.weight')
    }
    assert not [n for n, p in tiny_fcclip().backbone.named_parameters() if p.requires_grad]


def test_a_background_policy_is_refused() -> None:
    with pytest.raises(ValueError, match='background'):
        tiny_fcclip().set_vocabulary(dict(classes=['sky'], background='threshold', threshold=0.5))


def test_a_trunk_without_four_stages_is_refused() -> None:
    model = tiny_fcclip()
    tower = model.backbone.tower
    tower.stage_strides = (8, 16, 32)
    with pytest.raises(ValueError, match='4, 8, 16 and 32'):
        CLIPMaskTrunk(tower)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_on_fake_cuda(kind: str) -> None:
    model = tiny_fcclip(kind, **options(kind)).train()
    with fake_cuda() as mode, first_queries_match():
        move_to_fake_cuda(model, mode)
        assert total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).device.type == 'cuda'
        model.eval()
        with torch.no_grad():
            found = model.predict(torch.randn(1, 3, 64, 64), [sample((64, 64), (50, 40))])[0]
        assert found.pred_sem_seg.data.device.type == 'cuda' and found.pred_sem_seg.data.shape == (1, 50, 40)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_gradients_on_meta(kind: str) -> None:
    model = tiny_fcclip(kind, **options(kind)).to('meta').train()
    with meta_device(), first_queries_match():
        total_loss(model.loss(torch.randn(2, 3, 64, 64), stripes(2))).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, f'no gradient reaches {without}'


def test_the_head_answers_to_mmsegs_name_and_is_stored_once() -> None:
    model = tiny_fcclip()
    assert model.decode_head is model.head
    assert not [name for name in model.state_dict() if name.startswith('decode_head')]
