"""Import the package before any test module: it makes ``mmseg`` and ``mmdet`` importable on this host."""

import pytest
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

import denseclip  # noqa: F401


@pytest.fixture(autouse=True)
def own_globals():
    """No test leaves its default scope (``mmseg``, ``mmdet``) or its visualizer to the next one."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
    Visualizer._instance_dict.clear()
