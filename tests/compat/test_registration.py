"""The suite's modules are found by every registry, whoever made it and whenever; the import loads nothing heavy."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine import registry as roots
from mmengine.registry import Registry

from denseclip.compat.registration import LOCATIONS, add_locations

ROOT = Path(__file__).parents[2]


def _run(code):
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_importing_the_package_and_asking_for_help_load_neither_torch_nor_the_host():
    code = """
import sys
import denseclip
from denseclip.cli.main import main
try:
    main(['--help'])
except SystemExit:
    pass
heavy = {'torch', 'numpy', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'open_clip', 'timm', 'PIL'} & set(sys.modules)
print(sorted(heavy), len(sys.modules) <= 200)
"""
    assert _run(code)[-2:] == ['[]', 'True']


def test_a_registry_that_was_used_before_the_package_was_imported_finds_the_modules():
    code = """
from mmengine.registry import HOOKS
assert HOOKS.get('NonFiniteLossHook') is None
import denseclip
print(HOOKS.get('NonFiniteLossHook').__name__)
"""
    assert _run(code) == ['NonFiniteLossHook']


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet', 'mmengine'])
@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        ('MODELS', 'CLIPResNet'),
        ('DATASETS', 'CamVidDataset'),
        ('TRANSFORMS', 'CheckLabelRange'),
        ('METRICS', 'SemanticMetric'),
        ('HOOKS', 'SafeCheckpointHook'),
        ('LOOPS', 'ResumableIterTrainLoop'),
        ('RUNNERS', 'SuiteRunner'),
        ('OPTIM_WRAPPER_CONSTRUCTORS', 'TrainableOptimWrapperConstructor'),
        ('PARAM_SCHEDULERS', 'WarmupPolyLR'),
    ],
)
def test_plain_names_resolve_in_every_scope(scope, kind, name):
    root = getattr(roots, kind)
    with root.switch_scope_and_registry(scope) as registry:
        assert registry.get(name).__name__ == name


def test_every_kind_of_module_has_its_location():
    """Whatever the suite registers in a root registry, that registry finds by itself."""
    for location in LOCATIONS.values():
        importlib.import_module(location)
    kinds = {name: value for name, value in vars(roots).items() if isinstance(value, Registry)}
    holding = {
        name
        for name, root in kinds.items()
        if any(found.__module__.startswith('denseclip.') for found in root.module_dict.values())
    }
    # The wrapper of mixed precision on CPUs is registered when mmengine's own are.
    assert holding - {'OPTIM_WRAPPERS'} == set(LOCATIONS)


def test_a_child_that_is_made_later_finds_the_modules_and_keeps_its_own_locations():
    child = Registry('model', parent=roots.MODELS, scope='somebodys_project', locations=['json.tool'])
    try:
        assert child.get('CLIPResNet').__name__ == 'CLIPResNet'
        assert child._locations[0] == 'json.tool'
    finally:
        del roots.MODELS.children['somebodys_project']
    assert Registry('lone')._locations == []  # the default list of mmengine is shared by all registries


def test_locations_are_added_once():
    before = list(roots.MODELS._locations)
    watched = roots.MODELS._add_child
    try:
        add_locations(roots)
        assert roots.MODELS._locations == before
    finally:
        roots.MODELS._add_child = watched
