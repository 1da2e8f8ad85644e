"""DINO: its loss, its views, its teacher; export for timm and for the teachers of other methods."""

import pytest
import timm
import torch
import torch.nn.functional as F
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.random_views import random_colours, random_crops
from denseclip.models.functional.self_distillation import balanced_target, centred_target, dino_loss
from denseclip.models.pretraining import DINOPretraining, export_pretrained
from denseclip.models.teachers.dino import DINOTower

TRUNK = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2)
CONFIG = dict(
    type='DINOPretraining',
    trunk='vit_tiny_patch16_224',
    trunk_args=TRUNK,
    max_iters=10,
    head=dict(hidden=32, bottleneck=16, prototypes=24),
    large=32,
    small=16,
    num_small=2,
    warmup_iters=5,
    momentum=0.9,
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
)


def model(**changes) -> DINOPretraining:
    torch.manual_seed(0)
    return DINOPretraining(**{k: v for k, v in {**CONFIG, **changes}.items() if k != 'type'})


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))
def test_loss_is_the_mean_over_pairs_of_different_views(views, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(views, batch, 6, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, batch, 6, generator=generator, dtype=torch.float64)
    centre = torch.randn(6, generator=generator, dtype=torch.float64)
    found = dino_loss(student, centred_target(teacher, centre, 0.05), 0.1)
    terms = [
        -(F.softmax((teacher[g, n] - centre) / 0.05, 0) * F.log_softmax(student[v, n] / 0.1, 0)).sum()
        for g in range(2)
        for v in range(views)
        if g != v
        for n in range(batch)
    ]
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_no_gradient_flows_into_the_teacher_and_the_centre_cancels_a_constant():
    student = torch.randn(3, 2, 5, requires_grad=True)
    teacher = torch.randn(2, 2, 5, requires_grad=True)
    dino_loss(student, centred_target(teacher, torch.zeros(5), 0.04), 0.1).backward()
    assert teacher.grad is None and student.grad is not None
    offset = torch.randn(5)
    torch.testing.assert_close(
        centred_target(teacher, torch.zeros(5), 0.04), centred_target(teacher + offset, offset, 0.04), atol=1e-3, rtol=0
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(2, 9), st.floats(0.05, 1.0), st.integers(0, 99))
def test_balanced_targets_use_all_prototypes_equally(samples, prototypes, temperature, seed):
    scores = torch.rand(2, samples, prototypes, generator=torch.Generator().manual_seed(seed))
    target = balanced_target(scores, temperature, iterations=200)
    torch.testing.assert_close(target.sum(dim=-1), torch.ones(2, samples))
    torch.testing.assert_close(
        target.sum(dim=(0, 1)), torch.full((prototypes,), 2 * samples / prototypes), rtol=0.02, atol=0
    )
    torch.testing.assert_close(balanced_target(scores + 5.0, temperature, 200), target, atol=1e-5, rtol=1e-4)


def test_crops_stay_inside_and_differ():
    ramp = torch.linspace(0, 1, 40).expand(16, 1, 40, 40).contiguous()
    crops = random_crops(ramp, 16, (0.2, 0.5))
    assert crops.shape == (16, 1, 16, 16)
    assert crops.min() >= 0 and crops.max() <= 1
    slopes = crops[:, 0, 0, -1] - crops[:, 0, 0, 0]
    assert (slopes > 0).any() and (slopes < 0).any()  # mirrored in half of the cases
    share = (slopes.abs() * 16 / 15).square()  # width² of the window; its area is within 0.2 and 0.5
    assert share.min() > 0.2 * 0.7 and share.max() < 0.5 * 1.4
    whole = random_crops(ramp, 40, (1.0, 1.0))
    assert whole.shape == ramp.shape and float(whole.std()) == pytest.approx(float(ramp.std()), rel=0.15)


def test_colours_change_per_picture_and_some_become_grey():
    images = torch.randn(3, 8, 8).expand(64, 3, 8, 8).contiguous()
    changed = random_colours(images, grey=0.3)
    assert len({round(float(v), 5) for v in changed.mean(dim=(1, 2, 3))}) > 60
    grey = (changed - changed.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 0.1 < grey.float().mean() < 0.55
    torch.testing.assert_close(random_colours(images, strength=0.0, grey=0.0), images, atol=1e-6, rtol=1e-5)


def test_the_teacher_follows_the_student_and_never_learns_by_gradient():
    dino, images = model().train(), torch.randn(4, 3, 40, 40)
    optimizer = torch.optim.AdamW([p for p in dino.parameters() if p.requires_grad], lr=1e-2)
    before = [p.clone() for p in dino.teacher.parameters()]
    for step in range(2):
        loss = dino(images, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in dino.student.parameters())
        assert all(p.grad is None for p in dino.teacher.parameters())
        optimizer.step()
        same = all(torch.equal(a, b) for a, b in zip(before, dino.teacher.parameters(), strict=True))
        assert same == (step == 0)
    student, teacher = next(dino.student.parameters()).clone(), next(dino.teacher.parameters()).clone()
    dino.follow(0.75)
    torch.testing.assert_close(next(dino.teacher.parameters()), 0.75 * teacher + 0.25 * student)
    assert int(dino.step) == 2 and dino.centre.abs().sum() > 0


def test_a_loaded_state_goes_on_as_if_never_stopped():
    images = torch.randn(2, 3, 40, 40)
    first = model().train()
    for _ in range(3):
        first(images, mode='loss')['loss'].backward()
    second = model().train()
    second.load_state_dict(first.state_dict())
    losses = []
    for dino in (first, second):
        torch.manual_seed(7)
        losses.append(dino(images, mode='loss')['loss'].item())
    assert losses[0] == losses[1] and int(second.step) == 4


def test_it_tells_two_kinds_of_pictures_apart_without_a_label():
    torch.manual_seed(1)
    dino = model(max_iters=30, centring='sinkhorn', head=dict(hidden=32, bottleneck=16, prototypes=8)).train()
    optimizer = torch.optim.AdamW([p for p in dino.parameters() if p.requires_grad], lr=3e-3)
    stripes = torch.sin(torch.arange(40) * 1.2).expand(3, 40, 40)
    kinds = torch.stack([stripes, torch.ones(3, 40, 40) * 0.5])
    labels = torch.arange(16) % 2
    losses = []
    for _ in range(30):
        images = kinds[labels] + 0.3 * torch.randn(16, 3, 40, 40)
        loss = dino(images, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    embeddings = dino.eval()(kinds[labels] + 0.3 * torch.randn(16, 3, 40, 40))
    embeddings = F.normalize(embeddings - embeddings.mean(dim=0), dim=1)
    similar = embeddings @ embeddings.T
    same = labels[:, None] == labels[None]
    assert similar[same].mean() > similar[~same].mean() + 0.8


def test_modes():
    dino = model().eval()
    assert dino(torch.randn(2, 3, 32, 48)).shape == (2, 32)  # any size
    with pytest.raises(ValueError, match="choose 'mean' or 'sinkhorn'"):
        model(centring='none')
    with pytest.raises(ValueError, match='predicts nothing'):
        dino(torch.randn(1, 3, 32, 32), mode='predict')


def test_fake_cuda_and_meta():
    dino = model(num_small=1, centring='sinkhorn').train()
    with fake_cuda() as mode:
        move_to_fake_cuda(dino, mode)
        dino._done = 1  # a value on a fake device cannot be read
        assert dino(torch.randn(2, 3, 40, 40), mode='loss')['loss'].device.type == 'cuda'
    dino = model().to('meta').train()
    with meta_device():
        dino(torch.randn(2, 3, 40, 40), mode='loss')['loss'].backward()
    assert all(p.grad is not None for p in dino.student.parameters())


def test_an_exported_trunk_is_read_by_timm_and_by_the_teacher(tmp_path):
    dino = model().eval()
    export_pretrained(CONFIG, dino.state_dict(), tmp_path, half=False)
    vit = timm.create_model(f'local-dir:{tmp_path}', pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(vit(images), dino(images))
    assert vit.pretrained_cfg['mean'] == pytest.approx((0.485, 0.456, 0.406), abs=1e-6)
    tower = DINOTower('vit_tiny_patch16_224', pretrained=f'local-dir:{tmp_path}', **TRUNK)
    tower.read_weights()
    torch.testing.assert_close(tower.vit.state_dict(), vit.state_dict())
