"""The linear-head baseline: it learns a marked square, reads the authors' files, and converts back."""

import pytest
import torch
from mmengine.structures import PixelData
from tiny_anomaly import pictures, sample, tiny_model

from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert


def training_batch(count=4):
    samples = []
    for _ in range(count):
        mask = torch.zeros(1, 32, 32, dtype=torch.bool)
        mask[:, 8:16, 8:16] = True
        given = sample(object_name='bottle')
        given.gt_mask = PixelData(data=mask)
        samples.append(given)
    return pictures(count), samples


def test_only_the_linear_layers_learn_and_they_find_the_square():
    torch.manual_seed(0)
    model = tiny_model('AprilGAN').train()
    inputs, samples = training_batch()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {f'fc.{i}.{part}' for i in (0, 1) for part in ('weight', 'bias')}
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.02)
    first = None
    for _ in range(25):
        losses = model(inputs, samples, mode='loss')
        total = sum(losses.values())
        first = first if first is not None else total.item()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert total.item() < 0.8 * first
    result = model.eval().predict(pictures(1, seed=0))[0]
    inside, everywhere = result.anomaly_map.data[0, 8:16, 8:16].mean(), result.anomaly_map.data.mean()
    assert inside > everywhere and 0 <= result.pred_score <= 1
    assert result.anomaly_map.data.min() >= 0 and result.anomaly_map.data.max() <= 1


def test_files_of_the_authors_are_read(tmp_path):
    source = tiny_model('AprilGAN')
    theirs = convert(source.state_dict(), 'april_gan', inverse=True)
    assert set(theirs) == {'fc.0.weight', 'fc.0.bias', 'fc.1.weight', 'fc.1.bias'}
    file = tmp_path / 'epoch_15.pth'
    torch.save({'trainable_linearlayer': theirs}, file)
    loaded = tiny_model('AprilGAN', heads=str(file))
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in theirs.items())
    images = pictures(1)
    assert torch.equal(source.predict(images)[0].anomaly_map.data, loaded.predict(images)[0].anomaly_map.data)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(WeightMismatchError, match="found 'visual.proj'"):
        convert({'visual.proj': torch.zeros(1)}, 'april_gan')
    torch.save({'trainable_linearlayer': {'fc.0.weight': torch.zeros(8, 99)}}, tmp_path / 'w.pth')
    with pytest.raises(WeightMismatchError):
        tiny_model('AprilGAN', heads=str(tmp_path / 'w.pth'))


def test_the_map_is_the_mean_of_the_layers():
    model, images = tiny_model('AprilGAN'), pictures(1)
    with torch.no_grad():
        maps, _ = model.layer_maps(images, model.text_of('bottle').states[None])
    assert torch.allclose(model.predict(images)[0].anomaly_map.data, (maps[0] + maps[1])[:, 1] / 2, atol=1e-6)
