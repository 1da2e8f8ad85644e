"""SPAR: what its teacher sees, what learns, what is kept, and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import check_bf16, check_segmentor
from mmengine.optim import build_optim_wrapper
from shrunk_clips import WORDS, shake, shrunk_trunks
from tiny_dinoiser import CLIP
from tiny_spar import tiny_spar

from denseclip.clip.errors import NoReadOutError
from denseclip.clip.loading import load_clip
from denseclip.core.placement import resize
from denseclip.models.builder import build_module
from denseclip.models.functional.fine_windows import fine_window_features
from denseclip.models.pretraining import export_pretrained
from denseclip.models.segmentors import OpenVocabularySegmentor

FOLDER = 'local-dir:checkpoints/miniworld_clip'


def pictures(*size: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def patches(crops: torch.Tensor) -> torch.Tensor:
    """Means of patches of 4: they do not depend on the window that they are seen through."""
    return torch.nn.functional.avg_pool2d(crops, 4)


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('stride', [(8, 8), (4, 8), (12, 4)])
@pytest.mark.parametrize('size', [(16, 16), (24, 20), (12, 28), (8, 8)])
def test_windows_by_whole_patches_of_what_knows_no_window_change_nothing(stride: Any, size: Any):
    images = pictures(2, 3, *size).double()
    found = fine_window_features(patches, images, (4, 4), (12, 12), stride, batch=5)
    torch.testing.assert_close(found, patches(images))


def test_half_a_patch_on_is_the_mean_of_maps_enlarged_to_half_patches():
    """Each window alone, put into its place by hand."""
    images = pictures(1, 3, 16, 24).double()
    total, count = torch.zeros(1, 3, 8, 12).double(), torch.zeros(8, 12).double()
    for top in (0, 2):  # in cells of two pixels; the last one ends at the border
        for left in (0, 3, 6):
            crop = images[..., 2 * top : 2 * top + 12, 2 * left : 2 * left + 12]
            total[..., top : top + 6, left : left + 6] += resize(patches(crop), (6, 6))
            count[top : top + 6, left : left + 6] += 1
    found = fine_window_features(patches, images, (4, 4), (12, 12), (6, 6), batch=1)
    torch.testing.assert_close(found, resize(total / count, (4, 6)))


def test_batches_of_windows_and_pictures_change_nothing():
    images = pictures(3, 3, 16, 20)
    calls: list[int] = []

    def read(crops: torch.Tensor) -> torch.Tensor:
        calls.append(len(crops))
        return patches(crops) * crops.amax(dim=(1, 2, 3), keepdim=True)

    found = [fine_window_features(read, images, (4, 4), (8, 8), (6, 6), batch=batch) for batch in (1, 7, 100)]
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
    assert calls[:9] == [3] * 9 and calls[-1] == 27 and max(calls[9:-1]) == 6
    alone = fine_window_features(read, images[1:2], (4, 4), (8, 8), (6, 6))
    torch.testing.assert_close(alone, found[0][1:2])


def test_half_precision_is_summed_in_full():
    images = torch.full((1, 3, 40, 40), 1.0 / 3).half()
    found = fine_window_features(patches, images, (4, 4), (32, 32), (1, 1), batch=9)
    assert found.dtype == torch.float32 and found.std() < 1e-6


def test_sides_that_fit_no_patch_and_windows_that_leave_gaps_are_refused():
    with pytest.raises(ValueError, match='pictures of 18x20 are no whole patches of 4x4'):
        fine_window_features(patches, pictures(1, 3, 18, 20), (4, 4), (8, 8), (4, 4))
    with pytest.raises(ValueError, match='windows of 10x8'):
        fine_window_features(patches, pictures(1, 3, 20, 20), (4, 4), (10, 8), (4, 4))
    with pytest.raises(ValueError, match='uncovered'):
        fine_window_features(patches, pictures(1, 3, 24, 24), (4, 4), (8, 8), (12, 12))
    with pytest.raises(ValueError, match='one pixel'):
        fine_window_features(patches, pictures(1, 3, 24, 24), (4, 4), (8, 8), (0, 4))


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('preset', ['maskclip', 'naclip', 'sclip'])
def test_the_last_blocks_come_nearer_to_the_windows_and_nothing_else_moves(preset: str):
    torch.manual_seed(0)
    model = tiny_spar(preset).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    constructor = dict(constructor='TrainableOptimWrapperConstructor', optimizer=dict(type='AdamW', lr=3e-3))
    wrapper = build_optim_wrapper(model, constructor)
    images = pictures(2, 3, 44, 56)
    losses = []
    for _ in range(8):
        loss = model.loss(images)['loss_features']
        wrapper.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    learn = {name for name, value in model.named_parameters() if value.requires_grad}
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    blocks = [name.split('resblocks.')[1][0] for name in learn]
    assert moved == learn and set(blocks) == {'2', '3'}
    assert not model.tower.training and not model.teacher.training


def test_a_picture_as_large_as_a_window_teaches_no_more_than_the_smoothing_of_half_steps():
    """Enlarged and reduced again, a patch takes an eighth of its neighbours each way, as in the authors' code."""
    images = pictures(2, 3, 32, 32)
    assert tiny_spar(stride=16).loss(images)['loss_features'].item() == pytest.approx(0, abs=1e-10)
    model = tiny_spar(stride=12)
    with torch.no_grad():
        dense = torch.nn.functional.pad(model.dense_features(images), (1, 1, 1, 1), mode='replicate')
        rows = 0.75 * dense[:, :, 1:-1] + 0.125 * (dense[:, :, :-2] + dense[:, :, 2:])
        wanted = 0.75 * rows[..., 1:-1] + 0.125 * (rows[..., :-2] + rows[..., 2:])
        torch.testing.assert_close(model.teacher_features(images), wanted)


def test_a_trunk_of_timm_learns_in_its_last_blocks_and_its_pool_stays():
    arch = dict(text_cfg=dict(width=16, heads=2, layers=1, vocab_size=WORDS, context_length=8), embed_dim=16)
    with shrunk_trunks(depth=3):
        model = tiny_spar(
            clip=dict(model='ViT-B-16-SigLIP2', arch=arch, preset='maskclip'), window=64, stride=24, vocabulary=None
        )
    shake(model)
    model.teacher.load_state_dict(model.tower.state_dict())
    loss = model.loss(pictures(1, 3, 80, 96))['loss_features']
    loss.backward()
    learn = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert loss > 0 and {name.split('blocks.')[1][0] for name in learn} == {'1', '2'}
    assert {name for name, value in model.named_parameters() if value.requires_grad} == learn


def test_what_no_label_names_plays_no_part():
    model = tiny_spar()
    images = pictures(1, 3, 40, 48)
    first = model.loss(images)['loss_features']
    model.set_vocabulary('boat; sky')
    assert torch.equal(model.loss(images, ['anything'])['loss_features'], first)


def test_read_outs_and_towers_that_cannot_be_trained_so_are_refused():
    with pytest.raises(ValueError, match='affinity'):
        tiny_spar('proxyclip')
    with pytest.raises(ValueError, match='4 blocks'):
        tiny_spar(train_blocks=5)
    resnet = dict(
        embed_dim=16, vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=16), text_cfg=CLIP['arch']['text_cfg']
    )
    with pytest.raises(NoReadOutError, match='last blocks of a transformer'):
        tiny_spar(clip=dict(model='RN50', arch=resnet, preset='maskclip'))


@pytest.mark.parametrize('preset', ['maskclip', 'naclip'])
def test_fake_cuda_and_meta(preset: str):
    check_segmentor(lambda: tiny_spar(preset), size=(40, 56))


def test_bf16_on_the_cpu_is_finite():
    check_bf16(tiny_spar, size=(40, 56))


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_features_are_asked_for_once_and_found_by_picture_teacher_and_windows(tmp_path: Path):
    torch.manual_seed(0)
    model = tiny_spar(feature_cache=tmp_path / 'kept').eval()
    images = pictures(2, 3, 40, 48)
    looks: list[int] = []
    look = model._look
    model._look = lambda one: looks.append(len(one)) or look(one)
    first = model.teacher_features(images)
    assert torch.equal(model.teacher_features(images.flip(0)), first.flip(0)) and looks == [1, 1]
    torch.testing.assert_close(first, look(images), rtol=2e-3, atol=1e-3)
    model.teacher_features(images + 0.1)
    assert looks == [1] * 4 and len(list((tmp_path / 'kept').rglob('*.safetensors'))) == 4
    for changed in (dict(stride=8), dict(window=24), dict(clip={**CLIP, 'preset': 'sclip'})):
        torch.manual_seed(0)
        tiny_spar(feature_cache=tmp_path / 'kept', **changed).teacher_features(images)
    assert len(list((tmp_path / 'kept').rglob('*.safetensors'))) == 10


def test_a_checkpoint_has_no_teacher_its_export_is_the_student_and_a_training_goes_on_from_it(tmp_path: Path):
    config = dict(type='SPAR', clip=dict(model=FOLDER, preset='maskclip'), vocabulary=['tree', 'road'], window=64)
    model: Any = build_module(config)
    last = f'visual.transformer.resblocks.{len(model.tower.visual.transformer.resblocks) - 1}.mlp.c_proj.weight'
    with torch.no_grad():
        model.tower.get_parameter(last).mul_(0.5)
    state = model.state_dict()
    assert {name.split('.')[0] for name in state} == {'tower', 'text'}
    again: Any = build_module(config)
    again.load_state_dict(state)
    assert torch.equal(again.tower.get_parameter(last), model.tower.get_parameter(last))
    images = pictures(1, 3, 64, 80)
    with torch.no_grad():
        torch.testing.assert_close(again.teacher_features(images), model.teacher_features(images))
        assert again.loss(images)['loss_features'] > 0
    export_pretrained(config, state, tmp_path, half=False)
    used = OpenVocabularySegmentor(dict(model=f'local-dir:{tmp_path}', preset='maskclip')).eval()
    with torch.no_grad():
        torch.testing.assert_close(used.dense_features(images), model.dense_features(images))
    exported: Any = load_clip(f'local-dir:{tmp_path}').model
    assert not torch.equal(exported.get_parameter(last), model.teacher.get_parameter(last))


def test_the_teacher_of_weights_in_a_file_is_read_from_it(tmp_path: Path):
    """Also where a checkpoint has brought the student."""
    torch.manual_seed(0)
    source = OpenVocabularySegmentor(dict(**CLIP, preset='maskclip'))
    file = tmp_path / 'clip.pt'
    torch.save(source.parts.clip.model.state_dict(), file)
    student = tiny_spar().state_dict()
    model = tiny_spar(
        clip=dict(**CLIP, preset='maskclip', pretrained=dict(source=str(file), tag='laion400m_e32')), stride=16
    )
    model.load_state_dict({name: value for name, value in student.items() if not name.startswith('teacher.')})
    images = pictures(1, 3, 32, 32)
    with torch.no_grad():
        wanted = source.dense_features(images)
        torch.testing.assert_close(model.teacher_features(images), wanted)
        assert not torch.allclose(model.dense_features(images), wanted)
