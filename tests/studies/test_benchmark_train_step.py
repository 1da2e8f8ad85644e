"""The authors' order gives the same loss and leaves the detector as it was."""

import pytest
import torch
from tiny_detectors import tiny_detector

from denseclip.engine.config import OptionError
from studies.benchmark.train_step import PARTS, compare_steps, reference_order


@pytest.mark.parametrize('kind', ['retinanet', 'mask-rcnn'])
def test_losses_agree_and_nothing_stays_behind(kind):
    torch.manual_seed(0)
    model = tiny_detector(kind)
    before = {name: value.clone() for name, value in model.named_parameters()}
    found = compare_steps(model, size=64, boxes=3, repeats=1)
    assert found.difference < 1e-5 and found.ratio > 0
    assert set(found.samples) == {'ours', 'reference'}
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert not any(p.requires_grad for p in model.text_encoder.parameters())
    assert 'target' not in vars(model.pixel_text_loss) and not torch.is_anomaly_enabled()


def test_each_part_does_what_it_says():
    model = tiny_detector()
    with reference_order(model, ['trainable text']):
        assert all(p.requires_grad for p in model.text_encoder.parameters())
    with reference_order(model, ['anomaly mode']):
        assert torch.is_anomaly_enabled()
    boxes, labels = [torch.tensor([[0.0, 3.0, 60.0, 99.0], [9.0, 9.0, 9.0, 20.0]])], [torch.tensor([1, 2])]
    ours = model.pixel_text_loss.target(boxes, labels, 4, (64, 96))
    with reference_order(model, ['box by box']):
        assert 'target' in vars(model.pixel_text_loss)
        assert torch.equal(model.pixel_text_loss.target(boxes, labels, 4, (64, 96)), ours)
    with pytest.raises(OptionError, match=f'unknown.*{next(iter(PARTS))}'), reference_order(model, ['magic']):
        pass


def test_other_models_are_refused():
    with pytest.raises(OptionError, match='no DenseCLIP detector'):
        compare_steps(tiny_detector(pixel_text_loss=None))
