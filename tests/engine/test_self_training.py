"""The phase of a MaskCLIP+ training follows the iteration."""

from types import SimpleNamespace

import pytest
from torch import nn

from denseclip.engine.hooks import SelfTrainingHook


class Student(nn.Module):
    self_training = False


@pytest.mark.parametrize(('iteration', 'expected'), [(0, False), (1998, False), (1999, True), (5000, True)])
def test_iterations_count_from_one(iteration: int, expected: bool):
    runner = SimpleNamespace(model=Student(), iter=iteration)
    hook = SelfTrainingHook(begin=2000)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert runner.model.self_training is expected


def test_wrong_models_and_numbers_are_refused():
    with pytest.raises(TypeError, match='Linear has no phases'):
        SelfTrainingHook().before_train(SimpleNamespace(model=nn.Linear(1, 1)))
    with pytest.raises(ValueError, match='counts iterations from 1'):
        SelfTrainingHook(begin=0)
