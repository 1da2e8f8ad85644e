"""MaskCLIP+: pseudo-labels of the teacher and of the student, losses, vocabulary, checkpoints, devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import check_segmentor, total_loss
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_dinoiser import CLASSES, CLIP, tiny_maskclip_plus
from torch import Tensor
from torch.nn.functional import interpolate

from denseclip.models.functional.pseudo_labels import UNLABELLED, feature_distillation_loss, fill_unlabelled
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import write_safetensors


def batch(size: tuple[int, int] = (32, 32), label: int = UNLABELLED) -> tuple[Tensor, list[SegDataSample]]:
    torch.manual_seed(0)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, *size), label))) for _ in range(2)]
    return torch.randn(2, 3, *size), samples


def test_known_labels_stay_and_unknown_ones_take_the_best_candidate():
    labels = torch.tensor([[[0, UNLABELLED], [255, UNLABELLED]]])
    scores = torch.zeros(1, 3, 2, 2)
    scores[0, 0] = 3.0
    scores[0, 1, 0], scores[0, 2, 1] = 2.0, 2.0
    assert fill_unlabelled(labels, scores).tolist() == [[[0, 0], [255, 0]]]
    assert fill_unlabelled(labels, scores, (1, 2)).tolist() == [[[0, 1], [255, 2]]]


@pytest.mark.parametrize('bad', [(3,), (-1,), ()])
def test_candidates_must_be_classes(bad):
    with pytest.raises(ValueError, match='class ids from 0 to 2'):
        fill_unlabelled(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2, 2), bad)


def test_pseudo_labels_match_the_upsampled_argmax():
    scores = torch.randn(2, 5, 4, 6)
    labels = torch.full((2, 33, 41), UNLABELLED)
    expected = torch.nn.functional.interpolate(scores, size=(33, 41), mode='bilinear', align_corners=False).argmax(1)
    assert torch.equal(fill_unlabelled(labels, scores), expected)


@pytest.mark.parametrize('channels', [3, 70])
def test_distillation_is_the_authors_formula(channels):
    """Mean of |resized student - resized unit-length teacher| over the pixels that count and all channels."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, channels, 3, 4, requires_grad=True), torch.randn(2, channels, 5, 2)
    labels = torch.randint(0, 4, (2, 9, 11))
    labels[0, :4], labels[1, 2] = 255, UNLABELLED
    size = dict(size=(9, 11), mode='bilinear', align_corners=False)
    mine, theirs = interpolate(student, **size), interpolate(teacher / teacher.norm(dim=1, keepdim=True), **size)
    picked = [
        (mine[n, :, y, x] - theirs[n, :, y, x]).abs().mean()
        for n in range(2)
        for y in range(9)
        for x in range(11)
        if labels[n, y, x] != 255
    ]
    wanted = torch.stack(picked).mean()
    found = feature_distillation_loss(student, teacher * 7, labels != 255)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    slope, expected = (torch.autograd.grad(loss, student)[0] for loss in (found, wanted))
    assert torch.allclose(slope, expected, atol=1e-7)
    assert feature_distillation_loss(student, teacher, torch.zeros_like(labels, dtype=torch.bool)).item() == 0


def test_ignored_pixels_teach_no_features_and_pseudo_labels_do_not_decide_which_do():
    model = tiny_maskclip_plus(distillation=1.0, pseudo_labels=False).train()
    images, samples = batch(label=255)
    assert model.loss(images, samples)['decode.loss_distill'].item() == 0
    for sample in samples:
        sample.gt_sem_seg.data[:, :16] = 1
    half = model.loss(images, samples)['decode.loss_distill'].item()
    model.distilled_pixels = 'unlabelled'
    assert half > 0 and model.loss(images, samples)['decode.loss_distill'].item() == 0
    for sample in samples:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 1] = UNLABELLED
    model.pseudo_labels = True
    assert model.loss(images, samples)['decode.loss_distill'].item() > 0
    with pytest.raises(ValueError, match='labelled, unlabelled'):
        tiny_maskclip_plus(distilled_pixels='some')


def test_teacher_first_then_the_student_itself():
    model = tiny_maskclip_plus().train()
    images, samples = batch()
    labels = torch.stack([s.gt_sem_seg.data[0] for s in samples])
    logits = torch.zeros(2, len(CLASSES), 8, 8)
    logits[:, 3] = 1
    guided = model.pseudo_label(labels, logits, images)
    assert torch.equal(guided, fill_unlabelled(labels, model.teacher.head_logits(images)))
    model.self_training = True
    assert (model.pseudo_label(labels, logits, images) == 3).all()


def test_zero_shot_labels_are_unseen_classes_only():
    model = tiny_maskclip_plus(unseen=(1, 3)).train()
    images, _ = batch()
    found = model.pseudo_label(torch.full((2, 32, 32), UNLABELLED), torch.zeros(2, 4, 8, 8), images)
    assert set(found.unique().tolist()) <= {1, 3}


def test_the_student_learns_the_teachers_labels():
    torch.manual_seed(0)
    model = tiny_maskclip_plus(distillation=1.0).train()
    images, samples = batch()
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=0.05, momentum=0.9)
    losses = []
    for _ in range(6):
        found = model.loss(images, samples)
        assert {'decode.loss_ce', 'decode.loss_distill', 'decode.acc_seg'} <= set(found)
        losses.append(total_loss(found).item())
        optimizer.zero_grad()
        total_loss(found).backward()
        optimizer.step()
    assert losses[-1] < 0.85 * losses[0]
    assert not any(p.requires_grad for p in model.teacher.parameters()) and not model.teacher.training


def test_the_teacher_sees_its_own_normalisation():
    spec = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
    model = tiny_maskclip_plus(data_preprocessor=dict(type='SegDataPreProcessor', **spec))
    white = torch.full((1, 3, 2, 2), 255.0)
    student = (white - torch.tensor(spec['mean']).view(1, 3, 1, 1)) / torch.tensor(spec['std']).view(1, 3, 1, 1)
    wanted = model.teacher.tower.preprocess
    expected = [(1 - m) / s for m, s in zip(wanted.mean, wanted.std, strict=True)]
    assert model.teacher_input(student)[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-4)
    model.shared_input = True
    assert model.teacher_input(student) is student


def test_another_vocabulary_at_any_time():
    model = tiny_maskclip_plus().eval()
    images, _ = batch()
    model.set_vocabulary('one; two; three; four; five; six')
    assert model.num_classes == 6 and model.dataset_meta['classes'][5] == 'six'
    with torch.no_grad():
        assert model.head_logits(images).shape[1] == 6
        assert model.predict(images)[0].pred_sem_seg.data.shape == (1, 32, 32)


def test_wrong_sizes_are_named():
    head = dict(type='MaskCLIPPlusHead', in_channels=16, in_index=1, embed_dim=8, align_corners=False)
    with pytest.raises(ValueError, match='16 dimensions'):
        tiny_maskclip_plus(decode_head=head)
    with pytest.raises(ValueError, match='ids 0 to 3'):
        tiny_maskclip_plus(unseen=(4,))
    with pytest.raises(ValueError, match='merge'):
        tiny_maskclip_plus(
            teacher=dict(type='OpenVocabularySegmentor', clip=CLIP, merge='max', output='cosines'),
            vocabulary='cat = kitten; dog',
        )


def test_a_teacher_with_a_source_is_not_saved(tmp_path: Path):
    state = OpenCLIPParts(**CLIP).clip.model.state_dict()
    source = str(write_safetensors(state, tmp_path / 'clip.safetensors'))
    clip = dict(**CLIP, pretrained=source, preset='maskclip_orig')
    teacher = dict(type='OpenVocabularySegmentor', clip=clip, templates='photo')
    model = tiny_maskclip_plus(teacher=teacher)
    saved = model.state_dict()
    assert saved and not any(key.startswith('teacher.') for key in saved)
    other = tiny_maskclip_plus(teacher=teacher)
    other.load_state_dict(saved, strict=True)
    images, _ = batch()
    with torch.no_grad():
        torch.testing.assert_close(other.eval().head_logits(images), model.eval().head_logits(images))


def with_embeddings(**options: Any) -> Any:
    model = tiny_maskclip_plus(**options)
    model.set_class_embeddings(torch.randn(len(CLASSES), 16), CLASSES)
    return model


def test_fake_cuda_and_meta():
    check_segmentor(lambda: with_embeddings(unseen=(1, 2), distillation=0.5), size=(32, 32))
