"""Import the package before any test module: it makes ``mmseg`` and ``mmdet`` importable on this host."""

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import base_dataset
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

import denseclip  # noqa: F401

# Many tests start processes, and the workers of a run collect the same files: each is compiled once.
sys.dont_write_bytecode = False
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)

# Half of the time of many tests is waiting for a disk: their files lie in memory where there is much of it.
SHM, ROOM = Path('/dev/shm'), 8 * 2**30
if (
    'TMPDIR' not in os.environ
    and SHM.is_dir()
    and shutil.disk_usage(SHM).free >= ROOM
    and os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >= 2 * ROOM
):
    os.environ['TMPDIR'] = tempfile.tempdir = str(SHM)

# Ray and notebooks import jsonschema, which compiles a grammar of addresses for seconds where this package is there.
sys.modules['rfc3987_syntax'] = None  # type: ignore[assignment]


def pytest_collection_finish() -> None:
    """Keep the modules and the collected tests out of the garbage collector's passes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def gradients_after_forks():
    """Let processes that tests fork take gradients, whatever ran before.

    Where fake tensors pretend that there is a GPU before the first backward pass, that pass starts a thread for each of
    eight devices, and PyTorch refuses gradients in all processes that are forked afterwards.
    """
    torch.zeros(1, device='cpu', requires_grad=True).sum().backward()


@pytest.fixture(autouse=True, scope='session')
def data_sets_collect_nothing():
    """Every data set of MMEngine collects garbage by hand, which takes a twentieth of a second with what is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory):
    """Text that tests encode is kept in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DENSECLIP_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(autouse=True, scope='module')
def own_scope_of_modules():
    """No module leaves the default scope of its shared fixtures to the next one, nor its garbage."""
    yield from own_scope()
    gc.collect()
    gc.freeze()  # what it has imported


@pytest.fixture(autouse=True)
def own_globals():
    """No test leaves its default scope (``mmseg``, ``mmdet``) or its visualizer to the next one."""
    yield from own_scope()
    for kind in with_subclasses(Visualizer):
        kind._instance_dict.clear()


def with_subclasses(kind):
    """A class and all that are made of it; each keeps instances of its own."""
    return [kind, *(found for part in kind.__subclasses__() for found in with_subclasses(part))]


def own_scope():
    """Give the default scope back as it was."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
