"""The benchmark of MAFT+."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from denseclip.engine.benchmark.memory import PeakMemory

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark_maft.py'


def test_the_losses_memory_is_that_of_a_process_wherever_the_step_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    spec = importlib.util.spec_from_file_location('benchmark_maft', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def loss_memory(form: str, device: str = 'cpu') -> PeakMemory:
        # The loss's arguments are on the CPU: a GPU would be asked for nothing.
        return PeakMemory(0, 2**20 * {'matrix': 1, 'broadcast': 4}[form] * (device == 'cpu'))

    monkeypatch.setattr(module, 'loss_memory', loss_memory)
    monkeypatch.setattr(module, 'loss_difference', lambda: 0.0)
    assert module.print_loss(argparse.Namespace(device='cuda')) == 0
    assert 'ratio 0.250' in capsys.readouterr().out
