"""CLIP-DINOiser as a whole: inference, the background rule, training, checkpoints, devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import check_segmentor
from mmengine.optim import build_optim_wrapper
from mmengine.runner.checkpoint import get_state_dict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_dinoiser import CLASSES, CLIP, TEACHERS, tiny_dinoiser
from torch import Tensor

from denseclip.engine.checkpoints import load_weights, not_saved_prefixes, read_training_file
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.segmentors import CLIPDINOiser, DinoCLIP
from denseclip.weights import WeightMismatchError, write_safetensors


def samples(images: Tensor) -> list[SegDataSample]:
    size = tuple(images.shape[2:])
    return [SegDataSample(metainfo=dict(img_shape=size, ori_shape=size)) for _ in images]


def labels(model: Any, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack([s.pred_sem_seg.data[0] for s in model.predict(images, samples(images))])


def test_background_rule_is_the_same_for_one_picture_and_for_four():
    torch.manual_seed(0)
    model = tiny_dinoiser(teachers=False, background_rule=True, delta=0.9).eval()
    images = torch.randn(4, 3, 32, 48)
    with torch.no_grad():
        logits = model.head.foreground(model.head_input(model.read(images)))
        model.head.bkg_decoder.bias -= logits.median()  # half of the places are foreground
        together = model.head_logits(images)
        single = torch.cat([model.head_logits(image[None]) for image in images])
        model.background_rule = False
        without = model.head_logits(images)
    torch.testing.assert_close(together, single)
    assert 0 < (together[:, 0] == 1).float().mean() < 1
    assert torch.equal(together[:, 1:], without[:, 1:])


def test_the_background_may_stand_anywhere():
    model = tiny_dinoiser(teachers=False, background_rule=True, delta=1.1).eval()
    model.set_vocabulary('cat; background; sky')
    with torch.no_grad():
        out = model.guidance(torch.zeros(0), model.read(torch.zeros(1, 3, 32, 32)))
        scores = model.head_logits(torch.zeros(1, 3, 32, 32))
    assert torch.equal(scores[:, 1:2] == 1, out.foreground <= 0.5)


def test_background_rule_needs_a_background():
    with pytest.raises(ValueError, match="class called 'background'"):
        tiny_dinoiser(teachers=False, background_rule=True).set_vocabulary('cat; dog')
    with pytest.raises(ValueError, match='probabilities'):
        tiny_dinoiser(teachers=False, background_rule=True, output='cosines')
    with pytest.raises(ValueError, match='foreground_teacher'):
        DinoCLIP(CLIP, TEACHERS['correlation_teacher'], background_rule=True)


@pytest.mark.parametrize('size', [(1, 1), (17, 90), (32, 32)])
@pytest.mark.parametrize('layer', [-3, -1, 0, 'final'])
def test_any_size_and_any_layer(size: tuple[int, int], layer: int | str):
    model = tiny_dinoiser(teachers=False, feature_layer=layer).eval()
    assert labels(model, torch.randn(2, 3, *size)).shape == (2, *size)


@pytest.mark.parametrize('names', [1, 1203])
def test_any_number_of_names(names: int):
    model = tiny_dinoiser(teachers=False).eval()
    model.text.bank.templates = ('{}',)
    model.set_vocabulary([f'thing {k}' for k in range(names)])
    assert labels(model, torch.randn(1, 3, 24, 40)).max() < names


def test_windows_in_one_batch_or_one_by_one():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 48, 64)
    slide = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    model = tiny_dinoiser(teachers=False, background_rule=True, test_cfg=slide).eval()
    with torch.no_grad():
        scores = []
        for batch in (1, 8):
            model.test_cfg.window_batch = batch
            scores.append(model.slide_inference(images, [{}]))
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-5)


def test_one_pass_through_clip(monkeypatch: pytest.MonkeyPatch):
    model = tiny_dinoiser(background_rule=True).eval()
    passes = []
    forward = type(model.tower).forward
    monkeypatch.setattr(type(model.tower), 'forward', lambda *a: passes.append(1) or forward(*a))
    for teacher in (model.correlation_teacher, model.foreground_teacher):
        monkeypatch.setattr(teacher, 'forward', None)  # not asked in inference
    labels(model, torch.randn(2, 3, 32, 32))
    assert passes == [1]


@pytest.mark.parametrize('layer', [-3, 'final'])
def test_training_runs_only_the_blocks_that_its_losses_read(layer: int | str):
    model = tiny_dinoiser(feature_layer=layer)
    blocks = model.tower.visual.transformer.resblocks
    ran = []
    for number, block in enumerate(blocks):
        block.ln_1.register_forward_hook(lambda *_, number=number: ran.append(number))
    assert set(model.loss(torch.randn(1, 3, 32, 32))) == {'loss_correlation', 'loss_foreground'}
    assert ran == ([0, 1] if layer == -3 else [0, 1, 2, 3])


def test_dense_features_are_the_pooled_ones():
    model = tiny_dinoiser(teachers=False, gamma=None).eval()
    images = torch.randn(1, 3, 32, 40)
    torch.testing.assert_close(model.class_scores(model.dense_features(images)), model.head_logits(images))
    assert not torch.allclose(model.dense_features(images), model.read(images).dense)


def test_built_from_objects_and_from_config():
    torch.manual_seed(0)
    parts = OpenCLIPParts(**CLIP)
    model = CLIPDINOiser(parts, vocabulary=CLASSES, templates='photo').eval()
    assert model.tower.read_out.attention == 'value' and model.head.obj_proj.in_channels == 32
    other = CLIPDINOiser({**CLIP, 'preset': 'dinoiser'}, vocabulary=CLASSES, templates='photo').eval()
    other.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(other.head_logits(images), model.head_logits(images))


def test_even_kernels_and_unknown_layers_are_refused():
    with pytest.raises(ValueError, match='odd'):
        tiny_dinoiser(teachers=False, head=dict(kernel_size=2))
    with pytest.raises(ValueError, match="'final'"):
        tiny_dinoiser(teachers=False, feature_layer='last')


def test_training_moves_the_two_convolutions_alone():
    torch.manual_seed(0)
    model = tiny_dinoiser().train()
    frozen = {k: v.clone() for k, v in model.named_parameters() if not k.startswith('head.')}
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='AdamW', lr=1e-2)))
    images = torch.randn(2, 3, 32, 48)
    sums = []
    for _ in range(15):
        losses = model.loss(images)
        assert set(losses) == {'loss_correlation', 'loss_foreground'}
        sums.append(sum(losses.values()).item())
        wrapper.update_params(sum(losses.values()))
    assert sums[-1] < sums[0] - 0.05
    assert all(torch.equal(v, dict(model.named_parameters())[k]) for k, v in frozen.items())


def test_training_needs_the_teachers():
    with pytest.raises(ValueError, match='both teachers'):
        tiny_dinoiser(teachers=False).loss(torch.zeros(1, 3, 32, 32))


@pytest.fixture
def with_source(tmp_path: Path) -> dict[str, Any]:
    """A CLIP that has a file to come from."""
    state = OpenCLIPParts(**CLIP).clip.model.state_dict()
    return dict(clip={**CLIP, 'pretrained': str(write_safetensors(state, tmp_path / 'clip.safetensors'))})


def test_checkpoints_hold_the_convolutions_alone(with_source: dict[str, Any]):
    model = tiny_dinoiser(**with_source)
    state = model.state_dict()
    assert sorted(state) == sorted(f'head.{k}' for k in model.head.state_dict())
    assert set(get_state_dict(model)) == set(state)  # MMEngine walks the modules in its own way
    assert set(not_saved_prefixes(model)) >= {'tower.', 'text.'}
    other = tiny_dinoiser(**with_source)
    other.load_state_dict(state, strict=True)
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(other.eval().head_logits(images), model.eval().head_logits(images))


def test_a_clip_without_a_source_is_saved():
    assert any(key.startswith('tower.visual.') for key in tiny_dinoiser().state_dict())


def test_the_authors_file_loads(with_source: dict[str, Any], tmp_path: Path):
    model = tiny_dinoiser(teachers=False, **with_source)
    theirs = {k: torch.randn_like(v) for k, v in model.head.state_dict().items()}
    torch.save({'epoch': 100, 'model_state_dict': theirs}, tmp_path / 'last.pt')
    content = read_training_file(str(tmp_path / 'last.pt'))
    load_weights(model, content['state_dict'], source='last.pt', strict=True)
    assert all(torch.equal(v, theirs[k]) for k, v in model.head.state_dict().items())
    model.head_logits(torch.zeros(1, 3, 32, 32))  # CLIP came from its own file
    smaller = tiny_dinoiser(teachers=False, **with_source, **{'feature_layer': 'final'})
    with pytest.raises(WeightMismatchError, match='obj_proj'):
        load_weights(smaller, content['state_dict'], source='last.pt', strict=True)


def build_with_embeddings(**options: Any) -> Any:
    model = tiny_dinoiser(**options)
    model.set_class_embeddings(torch.randn(len(CLASSES), 16), CLASSES)
    return model


@pytest.mark.parametrize('options', [dict(background_rule=True), dict(feature_layer='final', gamma=None)])
def test_fake_cuda_and_meta(options: dict[str, Any]):
    check_segmentor(lambda: build_with_embeddings(**options), size=(32, 44))


def test_bf16_is_finite():
    model = build_with_embeddings().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(torch.randn(2, 3, 32, 32))
    sum(losses.values()).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.head.parameters())


def test_ground_truth_is_never_looked_at():
    model = tiny_dinoiser().train()
    images = torch.randn(1, 3, 32, 32)
    labelled = [SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 32)))]
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.loss(images).values(), model.loss(images, labelled).values(), strict=True)
    )
