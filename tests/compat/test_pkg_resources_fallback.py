"""The replacement of pkg_resources, alone and under mmengine's configs."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from denseclip.compat import pkg_resources_fallback as pkg


def test_distribution():
    found = pkg.get_distribution('mmengine')
    assert found.version == metadata.version('mmengine')
    assert found.parsed_version >= pkg.parse_version('0.10')
    assert (Path(found.location) / 'mmengine' / '__init__.py').is_file()
    assert found.get_metadata('top_level.txt').split()[0] == 'mmengine'
    assert str(found) == f'mmengine {found.version}'


def test_top_level_is_found_without_the_file():
    """hatchling and flit write no top_level.txt."""
    assert pkg.get_distribution('filelock').get_metadata('top_level.txt').split() == ['filelock']


def test_missing_metadata():
    found = pkg.get_distribution('mmengine')
    assert not found.has_metadata('nothing.txt')
    with pytest.raises(FileNotFoundError, match=r'mmengine .* no metadata file .nothing\.txt'):
        found.get_metadata('nothing.txt')


def test_errors_name_the_requirement():
    with pytest.raises(pkg.DistributionNotFound, match='no-such-distribution'):
        pkg.get_distribution('no-such-distribution')
    with pytest.raises(pkg.VersionConflict, match=r'mmengine .* is installed but mmengine>=99 is required'):
        pkg.require('mmengine', 'mmengine>=99')
    with pytest.raises(AttributeError, match='setuptools<82'):
        _ = pkg.working_set


def test_mmengine_finds_packages():
    from mmengine.utils import get_installed_path, is_installed

    assert is_installed('mmsegmentation')
    assert not is_installed('no-such-distribution')
    assert (Path(get_installed_path('mmsegmentation')) / 'version.py').is_file()


def test_config_inherits_from_mmseg(tmp_path):
    from mmengine.config import Config
    from mmseg.apis import init_model  # noqa: F401  (what users import first)

    config = tmp_path / 'config.py'
    config.write_text("_base_ = ['mmseg::_base_/models/fpn_r50.py']\nmodel = dict(decode_head=dict(num_classes=3))\n")
    loaded = Config.fromfile(config)
    assert loaded.model.decode_head.num_classes == 3
    assert loaded.model.neck.type == 'FPN'


def test_get_config_from_mmdet():
    from mmengine.hub import get_config

    assert get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').model.type == 'RetinaNet'


def test_pytest_can_change_the_path_beside_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', pkg)
    monkeypatch.syspath_prepend(tmp_path)
    assert sys.path[0] == str(tmp_path)
