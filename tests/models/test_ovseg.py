"""OVSeg as a whole."""

from __future__ import annotations

import pytest
import torch
from device_safety import check_bf16, fake_cuda, move_to_fake_cuda, segmentation_batch
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from mmseg.structures import SegDataSample
from tiny_ovseg import CLASSES, REGIONS, samples_of, tiny_ovseg

BACKBONES = ['swin', 'resnet']


def labels(batch: int = 2, size: tuple[int, int] = (64, 64), classes: int = 4) -> torch.Tensor:
    torch.manual_seed(1)
    return (
        torch.randint(classes, (batch, size[0] // 16, size[1] // 16)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    )


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize('backbone', BACKBONES)
def test_a_step_trains_the_first_stage_alone(backbone: str) -> None:
    model = tiny_ovseg(backbone).train()
    classifier = model.region_classifier
    classifier.forward = None  # any use of it would raise
    losses = model.loss(torch.randn(2, 3, 64, 64), samples_of(labels()))
    assert {name.split('_')[1] for name in losses} == {'ce', 'mask', 'dice'} and len(losses) == 6
    total(losses).backward()
    frozen = {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen >= {'text', 'region_classifier'} and frozen <= {'text', 'region_classifier', 'backbone'}
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert model.non_object_embedding.grad.abs().sum() > 0
    assert not model.text.tower.training and not classifier.training


def test_a_few_steps_learn_a_batch() -> None:
    model = tiny_ovseg(stage2=False, decode_head=dict(dropout=0.0)).train()
    config = ConfigDict(
        constructor='DetectronOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.0),
        clip_grad=dict(max_norm=1.0),
    )
    optimizer = build_optim_wrapper(model, config)
    images, samples = torch.randn(1, 3, 64, 64), samples_of(labels(1))
    first = None
    for _ in range(12):
        losses = model.loss(images, samples)
        first = first or losses['loss_ce'].item()
        optimizer.update_params(total(losses))
    assert losses['loss_ce'].item() < 0.7 * first


def test_training_words_differ_from_those_in_use() -> None:
    model = tiny_ovseg(stage2=False, vocabulary=['sky', 'tree'], train_vocabulary=CLASSES)
    images = torch.randn(1, 3, 64, 64)
    before = model.predict(images)[0].pred_sem_seg.data
    losses = model.loss(images, samples_of(labels(1)))
    same = tiny_ovseg(stage2=False).loss(images, samples_of(labels(1)))
    torch.testing.assert_close(losses, same)
    assert model.vocabulary.names == ('sky', 'tree') and model.num_classes == 2
    assert torch.equal(model.predict(images)[0].pred_sem_seg.data, before)
    model.set_vocabulary('cat; dog; bird')
    model.loss(images, samples_of(labels(1)))
    assert model.vocabulary.names == ('cat', 'dog', 'bird') == model.dataset_meta['classes']
    rows = torch.randn(2, 16)
    model.set_class_embeddings(rows, ['this', 'that'])
    model.loss(images, samples_of(labels(1)))
    model.predict(images)
    torch.testing.assert_close(model.text().embeddings, torch.nn.functional.normalize(rows, dim=-1))


def test_sliding_windows_after_a_training_step() -> None:
    test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    model = tiny_ovseg(vocabulary=['sky', 'tree'], train_vocabulary=CLASSES, test_cfg=test_cfg)
    images = torch.randn(1, 3, 64, 96)
    before = model.predict(images)[0].pred_sem_seg.data
    model.loss(images[..., :64], samples_of(labels(1)))
    assert torch.equal(model.predict(images)[0].pred_sem_seg.data, before)


def test_classes_without_an_entry_and_pictures_without_a_target_train() -> None:
    model = tiny_ovseg(stage2=False)
    some = labels(2, classes=1)
    some[1] = 255
    losses = model.loss(torch.randn(2, 3, 64, 64), samples_of(some))
    assert all(torch.isfinite(value) for value in losses.values())
    nothing = model.loss(torch.randn(1, 3, 64, 64), samples_of(torch.full((1, 64, 64), 255)))
    assert nothing['loss_ce'] > 0 and nothing['loss_mask'].abs() < 1e6
    total(nothing).backward()


@pytest.mark.parametrize('count', [0, 1])
@pytest.mark.parametrize('stages', ['both', 'second'])
def test_no_mask_and_one_mask_are_results(count: int, stages: str) -> None:
    model = tiny_ovseg(stages=stages)
    images = torch.randn(1, 3, 64, 64)
    propose = model.propose

    def few(inputs, samples=None):
        proposals = propose(inputs, samples)
        proposals.mask_logits[:, count:] = -20.0
        proposals.mask_logits[:, :count] = 3.0
        return proposals

    model.propose = few
    with torch.no_grad():
        found = model.predict(images)[0].pred_sem_seg.data
    assert found.shape == (1, 64, 64) and 0 <= int(found.min()) <= int(found.max()) < 4
    if stages == 'second' and not count:  # nothing to go by but the first stage
        model.stages = 'first'
        with torch.no_grad():
            assert torch.equal(model.predict(images)[0].pred_sem_seg.data, found)


def test_a_single_class_is_everywhere() -> None:
    model = tiny_ovseg(vocabulary=['sky'])
    with torch.no_grad():
        assert not model.predict(torch.randn(1, 3, 64, 64))[0].pred_sem_seg.data.any()
    assert torch.isfinite(total(model.loss(torch.randn(1, 3, 64, 64), samples_of(labels(1, classes=1)))))


@pytest.mark.parametrize('size', [(64, 64), (50, 71)])
def test_padding_is_no_part_of_the_result(size: tuple[int, int]) -> None:
    """Padded by the data preprocessor or by the model: the same labels in the picture's own size."""
    model = tiny_ovseg()
    picture = torch.randint(255, (3, *size)).float()
    meta = dict(img_shape=size, ori_shape=(90, 75))
    sizes, found = [], []
    for divisor in (32, 1):
        model.data_preprocessor.test_cfg = dict(size_divisor=divisor)
        data = model.data_preprocessor(dict(inputs=[picture], data_samples=[SegDataSample(metainfo=meta)]))
        sizes.append(tuple(data['inputs'].shape[2:]))
        with torch.no_grad():
            found.append(model.predict(**data)[0].pred_sem_seg.data)
    assert sizes == [tuple(-(-side // 32) * 32 for side in size), size]
    assert found[0].shape == (1, 90, 75) and torch.equal(*found)


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    model = tiny_ovseg()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        together = [s.pred_sem_seg.data for s in model.predict(images)]
        alone = [model.predict(image[None])[0].pred_sem_seg.data for image in images]
    assert all(float((one != other).float().mean()) < 0.001 for one, other in zip(together, alone, strict=True))


def test_stored_without_clip_while_clip_has_a_source() -> None:
    model = tiny_ovseg()
    kept = {key.split('.')[0] for key in model.state_dict()}
    assert kept == {'backbone', 'decode_head', 'non_object_embedding', 'text', 'region_classifier'}
    trained = tiny_ovseg(region_classifier={**REGIONS, 'prompt_depth': 0})
    trained.parts.pretrained = 'openai'
    assert {key.split('.')[0] for key in trained.state_dict()} == {'backbone', 'decode_head', 'non_object_embedding'}
    fresh = tiny_ovseg(region_classifier={**REGIONS, 'prompt_depth': 0}, seed=1)
    fresh.forget_pretrained()  # random weights are meant
    fresh.load_state_dict(trained.state_dict(), strict=False)
    assert torch.equal(fresh.non_object_embedding, trained.non_object_embedding)


@pytest.mark.parametrize('backbone', BACKBONES)
def test_bf16(backbone: str) -> None:
    check_bf16(lambda: tiny_ovseg(backbone))


@pytest.mark.slow
def test_first_stage_on_a_device() -> None:
    """Masks and class logits of fake CUDA tensors; behind them matching and cropping look at values."""
    model = tiny_ovseg()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        inputs, samples = segmentation_batch(1, (50, 70))
        with torch.no_grad():
            proposals = model.propose(inputs, samples)
            logits = model.class_logits(proposals.class_embeddings)
        assert proposals.mask_logits.device.type == logits.device.type == 'cuda'
        assert proposals.mask_logits.shape == (1, 6, 16, 24) and logits.shape == (1, 6, 5)
