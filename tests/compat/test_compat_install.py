"""What `install()` puts in place, from inside the process and in a fresh one."""

import importlib
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from denseclip import compat

COMPAT = Path(compat.__file__).parent

# A package `denseclip` whose own __init__ is not run: what is tested is the light core.
BARE = (
    'import sys, types; package = types.ModuleType("denseclip"); '
    f'package.__path__ = [{str(COMPAT.parent)!r}]; sys.modules["denseclip"] = package; '
    'from denseclip import compat; compat.install(); '
)


def _run(code, *path):
    result = subprocess.run(
        [sys.executable, '-S', '-c', f'import sys; sys.path[:0] = {[str(p) for p in path]!r}; {BARE}{code}'],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_install_is_idempotent_and_last():
    before = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == before
    kinds = [type(finder).__name__ for finder in sys.meta_path]
    assert kinds.count('FallbackFinder') == kinds.count('AfterImport') == 1
    assert kinds.index('FallbackFinder') > sys.meta_path.index(PathFinder)


def test_install_needs_the_standard_library_only():
    assert _run('print("torch" in sys.modules, "numpy" in sys.modules)') == 'False False'


def test_compiled_extension_and_real_pkg_resources_win(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text('nms = "compiled"')
    (tmp_path / 'pkg_resources.py').write_text('origin = "setuptools"')
    code = 'import mmcv._ext, pkg_resources; print(mmcv._ext.nms, pkg_resources.origin)'
    assert _run(code, tmp_path) == 'compiled setuptools'


def test_extension_module_behaves_like_a_module():
    import mmcv
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    extension = importlib.import_module('mmcv._ext')
    assert extension.__spec__.name == 'mmcv._ext'
    assert extension.__spec__.origin == str(COMPAT / 'mmcv_ext.py')
    assert mmcv_full_available()
    assert mmcv._ext is extension
    for name in ('__path__', '__wrapped__', '_private'):
        with pytest.raises(AttributeError, match=name):
            getattr(extension, name)
    assert {'nms', 'roi_align_forward'} <= set(dir(extension))
    importlib.reload(extension)
    assert callable(extension.nms)


def test_every_operator_can_be_looked_up_and_the_missing_ones_say_so():
    import torch
    from mmcv.ops import carafe

    with pytest.raises(NotImplementedError, match=r"'carafe_forward'.*Build mmcv"):
        carafe(torch.zeros(1, 4, 2, 2), torch.zeros(1, 25, 4, 4), 5, 1, 2)


def test_versions_of_the_extension_for_collect_env():
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    assert 'denseclip' in get_compiler_version()
    assert get_compiling_cuda_version() == 'not available'


def test_the_stack_imports():
    for name in ('mmseg.models', 'mmseg.datasets', 'mmseg.apis', 'mmseg.engine', 'mmdet.models', 'mmdet.apis'):
        assert importlib.import_module(name)
