"""What the suite's runner does otherwise than MMEngine's."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from denseclip.engine.runner import SuiteRunner


@pytest.fixture
def settings() -> Iterator[None]:
    """Put PyTorch's switches back."""
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@pytest.mark.usefixtures('settings')
def test_what_has_no_deterministic_form_is_a_warning() -> None:
    runner: Any = SuiteRunner.__new__(SuiteRunner)
    runner.set_randomness(3, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    runner.logger = SimpleNamespace()
    assert runner.seed == 3
