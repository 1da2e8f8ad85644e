"""Checkpoints of training code: tensors are read, schedules and option lists are left behind, code stays refused."""

import argparse

import pytest
import torch

from denseclip.weights import UntrustedWeightsError, read_checkpoint


class Marker:
    """Its reconstruction would be noticed."""

    made = 0

    def __reduce__(self):
        return _made, ()


def _made():
    Marker.made += 1
    return 1


def training_file(path, **more):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    torch.save(
        {
            'state_dict': {f'module.{k}': v for k, v in model.state_dict().items()},
            'epoch': 5,
            'optimizer': optimizer.state_dict(),
            'scheduler': {'successor': schedule, 'last_epoch': 2},
            **more,
        },
        path,
    )
    return model


@pytest.mark.parametrize('more', [{}, {'args': argparse.Namespace(lr=0.1, names=['a'])}], ids=['schedule', 'options'])
def test_schedules_and_options_are_left_behind(tmp_path, more):
    model = training_file(tmp_path / 'model.pth.tar-5', **more)
    found = read_checkpoint(tmp_path / 'model.pth.tar-5')
    assert found.state_dict.keys() == model.state_dict().keys()
    assert all(torch.equal(found.state_dict[k], v) for k, v in model.state_dict().items())


def test_anything_else_beside_them_is_refused_and_not_run(tmp_path):
    training_file(tmp_path / 'model.pth.tar-5', marker=Marker())
    with pytest.raises(UntrustedWeightsError, match='Nothing was run'):
        read_checkpoint(tmp_path / 'model.pth.tar-5')
    assert Marker.made == 0
    with pytest.raises(UntrustedWeightsError):  # nor is it allowed by what was read before
        read_checkpoint(tmp_path / 'model.pth.tar-5')
    assert not any('optim' in str(name) for name in torch.serialization.get_safe_globals())
