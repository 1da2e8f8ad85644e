"""Prompts of a good and of a bad picture that are learnt: what learns, how, and what a file of them does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from device_safety import fake_cuda, move_to_fake_cuda
from mmengine.structures import PixelData
from tiny_anomaly import SIDE, pictures, sample, tiny_model

from denseclip.clip.anomaly_prompts.learnt import LearntPair
from denseclip.datasets.transforms import SyntheticDefect
from denseclip.export.capabilities import capability
from denseclip.weights import WeightMismatchError, write_safetensors


def batch(masks: bool = True) -> tuple[torch.Tensor, list[Any]]:
    """Good pictures, and bad ones with a bright spot at a known place."""
    inputs = pictures(4)
    inputs[:2, :, SIDE // 4 : SIDE // 2, SIDE // 4 : SIDE // 2] -= 2
    samples = []
    for place in range(4):
        found = sample(object_name='bottle', img_shape=(SIDE, SIDE))
        found.gt_label = int(place >= 2)
        if masks:
            mask = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
            mask[:, SIDE // 4 : SIDE // 2, SIDE // 4 : SIDE // 2] = place >= 2
            found.gt_mask = PixelData(data=mask)
        samples.append(found)
    return inputs, samples


def test_the_pair_alone_learns_to_tell_good_from_bad() -> None:
    torch.manual_seed(0)
    model = tiny_model(views=False, pair=dict(length=3)).train()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ['pair.tokens'] and model.pair.tokens.shape == (2, 3, 8)
    optimizer = torch.optim.AdamW(model.pair.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        found = model(*batch(), mode='loss')
        optimizer.zero_grad()
        sum(found.values()).backward()
        assert bool(model.pair.tokens.grad.abs().sum() > 0)
        optimizer.step()
        losses.append({key: float(value.detach()) for key, value in found.items()})
    assert all(losses[-1][key] < losses[0][key] - 0.05 for key in ('loss_pictures', 'loss_patches'))
    assert set(model(*batch(masks=False), mode='loss')) == {'loss_pictures'}


def test_losses_are_the_cross_entropies_of_softmax_cosines() -> None:
    torch.manual_seed(1)
    model = tiny_model(views=False, pair=dict(length=2), pair_scale=7.0)
    inputs, samples = batch()
    with torch.no_grad():
        found = model.loss(inputs, samples)
        states = model.pair(model.text_tower, 'bottle').double().numpy()
        pooled, patches = (part.double().numpy() for part in model.embed(inputs))

    def bad_share(features: np.ndarray) -> np.ndarray:
        cosines = 7 * features / np.linalg.norm(features, axis=-1, keepdims=True) @ states.T
        return 1 / (1 + np.exp(cosines[..., 0] - cosines[..., 1]))

    share = bad_share(pooled)
    wanted = -np.log([1 - share[0], 1 - share[1], share[2], share[3]]).mean()
    assert found['loss_pictures'].item() == pytest.approx(wanted, rel=1e-4)
    share, bad = bad_share(patches), np.zeros(patches.shape[:3], dtype=bool)
    bad[2:, 1, 1] = True  # a patch is 8 pixels wide, the spot 8 to 16
    wanted = (-np.log(1 - share[~bad]).mean() - np.log(share[bad]).mean()) / 2
    assert found['loss_patches'].item() == pytest.approx(wanted, rel=1e-4)


def test_a_file_takes_the_place_of_sentences_for_every_model_with_words(tmp_path: Path) -> None:
    torch.manual_seed(2)
    pair = LearntPair(8, 3)
    path = pair.write(tmp_path / 'pair.safetensors')
    written = tiny_model(views=False)
    before = written.text_of('bottle').states
    with torch.no_grad():
        rows = pair(written.text_tower, 'bottle')
    for kind in ('AnoVL', 'WinCLIP', 'AprilGAN'):
        model = tiny_model(kind=kind, prompts=str(path))
        torch.testing.assert_close(model.text_of('bottle').states, rows)
        assert not any(p.requires_grad for p in model.pair.parameters())
        found = model.predict(pictures(1), [sample(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE))])[0]
        assert bool(torch.isfinite(found.anomaly_map.data).all())
        assert 'learnt pair' in str(capability(model).reason)
    written.set_prompts(path)
    torch.testing.assert_close(written.text_of('bottle').states, rows)
    assert not torch.allclose(written.text_of('cup').states, rows)
    written.set_prompts('anovl')
    assert written.pair is None and written.text_of('bottle').states.shape == before.shape


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    model = tiny_model(views=False)
    write_safetensors({'tokens': torch.zeros(3, 2, 8)}, tmp_path / 'three.safetensors')
    with pytest.raises(WeightMismatchError, match='no pair of learnt prompts'):
        model.set_prompts(tmp_path / 'three.safetensors')
    LearntPair(12, 2).write(tmp_path / 'wide.safetensors')
    with pytest.raises(ValueError, match='another CLIP'):
        model.set_prompts(tmp_path / 'wide.safetensors')
    with pytest.raises(FileNotFoundError):
        model.set_prompts('nowhere.safetensors')
    assert model.pair is None
    with pytest.raises(NotImplementedError, match='not trained'):
        model.loss(*batch())
    with pytest.raises(ValueError, match='1 at least'):
        LearntPair(8, 0)


def test_a_synthetic_defect_changes_what_its_mask_says_and_nothing_else() -> None:
    np.random.seed(0)  # noqa: NPY002  (the state that is seeded per sample)
    image = np.random.randint(0, 256, (64, 96, 3)).astype(np.uint8)  # noqa: NPY002
    spoil, sizes = SyntheticDefect(prob=1.0), []
    for _ in range(20):
        found = spoil.transform(dict(img=image.copy(), gt_label=0, gt_mask=np.zeros((64, 96), np.uint8)))
        changed = (found['img'] != image).any(axis=2)
        near = np.pad(found['gt_mask'], 2)
        near = sum(near[i : i + 64, k : k + 96] for i in range(5) for k in range(5)) > 0  # soft rims lie beside masks
        assert found['gt_label'] == 1 and found['gt_mask'].dtype == np.uint8 and changed.any()
        assert not (changed & ~near).any()
        sizes.append(found['gt_mask'].mean())
    assert 0.001 < np.mean(sizes) < 0.1 and len(set(sizes)) > 10
    bad = dict(img=image.copy(), gt_label=1)
    assert spoil.transform(bad) is bad and np.array_equal(bad['img'], image)
    assert SyntheticDefect(prob=0.0).transform(dict(img=image, gt_label=0))['gt_label'] == 0
    with pytest.raises(ValueError, match='within 0..1'):
        SyntheticDefect(size=(0.5, 0.1))


def test_the_loss_is_made_on_the_device_of_the_pictures() -> None:
    model = tiny_model(views=False, pair=dict(length=2))
    with fake_cuda() as mode:
        inputs, samples = batch(masks=False)
        move_to_fake_cuda(model, mode)
        losses = model.loss(mode.from_tensor(inputs).to('cuda') if inputs.device.type == 'cpu' else inputs, samples)
        assert losses['loss_pictures'].device.type == 'cuda'
