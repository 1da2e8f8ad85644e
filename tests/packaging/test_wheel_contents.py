"""What a wheel would hold, without building one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UNSHIPPED = {'.pyc', '.orig', '.rej', '.swp'}


@pytest.fixture(scope='module')
def contents() -> set[str]:
    """Paths inside the wheel, as setuptools' ``build_py`` would write them."""
    run_setup = pytest.importorskip('setuptools').distutils.core.run_setup
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        command = run_setup('setup.py', stop_after='config').get_command_obj('build_py')
        command.ensure_finalized()
        outputs = command.get_outputs(include_bytecode=False)
        return {Path(path).relative_to(command.build_lib).as_posix() for path in outputs}


def in_checkout(folder: str) -> set[str]:
    """Files of a folder of the repository."""
    files = (path for path in (ROOT / folder).rglob('*') if path.is_file() and path.suffix not in UNSHIPPED)
    return {path.relative_to(ROOT).as_posix() for path in files if '__pycache__' not in path.parts}


def test_every_file_of_the_package_is_shipped(contents):
    """A vocabulary, template or table that is missing from ``package_data`` works in a checkout only."""
    assert sorted(in_checkout('denseclip') - contents) == []


@pytest.mark.parametrize('folder', ['configs', 'checkpoints'])
def test_configs_and_weights_are_shipped_inside_the_package(contents, folder):
    missing = {path for path in in_checkout(folder) if f'denseclip/{path}' not in contents}
    assert sorted(missing) == []


def test_the_bundled_model_is_whole(contents):
    zoo = yaml.safe_load((ROOT / 'checkpoints' / 'model_zoo.yml').read_text(encoding='utf-8'))
    entry = next(model for model in zoo['models'] if model['name'] == zoo['default'])
    assert {f'denseclip/{entry["config"]}', f'denseclip/{entry["file"]}'} <= contents


def test_nothing_else_is_shipped(contents):
    """Import names such as ``tests`` or ``tools`` would collide with those of other packages."""
    assert {path.split('/')[0] for path in contents} == {'denseclip'}
    assert not [path for path in contents if path.endswith(('.pth', '.pt', '.pkl'))]
