"""How a model computes is chosen in the same words by every command and every function that runs one."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from denseclip.apis import functions
from denseclip.apis.distill import distill
from denseclip.apis.loading import load_model
from denseclip.cli import adapt, anomaly, benchmark, detect, label, segment, serve, stress, test, train
from denseclip.cli import distill as distill_command
from denseclip.engine.benchmark.workload import ModelOptions
from denseclip.engine.launch import TestOptions, TrainOptions

COMMANDS = (segment, detect, anomaly, label, serve, adapt, stress, test, benchmark)
TRAINING = (train, distill_command)
FUNCTIONS = (functions.segment, functions.detect, functions.anomaly, load_model, distill)
OPTIONS = (TrainOptions, TestOptions, ModelOptions)


def actions(command: ModuleType) -> dict[str, argparse.Action]:
    """All options of a command and of those below it."""

    def of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
        for action in parser._actions:
            yield from ((name, action) for name in action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from of(inner)

    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return dict(of(parser))


@pytest.mark.parametrize('command', [*COMMANDS, *TRAINING], ids=lambda c: c.__name__.rpartition('.')[2])
def test_every_command_that_runs_a_model_has_the_switches(command: ModuleType) -> None:
    found = actions(command)
    assert ('int8-dynamic' in found['--precision'].choices) is (command not in TRAINING)
    assert 'channels_last' in found['--layout'].choices
    assert found['--compile'].const is True and found['--compile'].default is False


@pytest.mark.parametrize('called', [*FUNCTIONS, *OPTIONS], ids=lambda c: c.__name__)
def test_every_function_that_runs_a_model_has_the_switches(called: Any) -> None:
    assert {'precision', 'layout', 'compile'} <= set(inspect.signature(called).parameters)


@pytest.mark.parametrize('command', TRAINING, ids=lambda c: c.__name__.rpartition('.')[2])
def test_a_training_is_told_a_precision_only_where_one_is_asked_for(command: ModuleType) -> None:
    assert actions(command)['--precision'].default is None
    assert TrainOptions().precision is None
