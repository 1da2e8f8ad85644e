"""Requirements and what is said when one is missing."""

import pytest

from denseclip.compat import versions


def test_a_build_label_does_not_count(monkeypatch):
    monkeypatch.setattr(versions, 'installed_version', lambda name: '2.6.0+cu124')
    assert versions.Requirement('torch', 'torch', '>=2.6').supported
    assert not versions.Requirement('torch', 'torch', '>=2.7').supported


def test_not_installed():
    requirement = versions.Requirement('no-such-thing', 'no_such_thing', '>=1')
    assert requirement.installed is None
    assert not requirement.supported
    assert requirement.install_command == "pip install 'no-such-thing>=1'"


@pytest.mark.parametrize(
    ('present', 'expected'),
    [
        ({'mmengine', 'mmcv-lite'}, 'mmcv-lite'),
        ({'mmengine', 'mmcv'}, 'mmcv'),
        ({'onedl-mmcv'}, 'onedl-mmcv'),
        (set(), 'mmcv-lite'),
    ],
)
def test_which_stack_is_expected(monkeypatch, present, expected):
    monkeypatch.setattr(versions, 'installed_version', lambda name: '2.1.0' if name in present else None)
    (mmcv,) = [requirement for requirement in versions.host_stack() if requirement.module == 'mmcv']
    assert mmcv.name == expected


def test_features_name_the_extra(monkeypatch):
    versions.require_host_stack('anything')
    real = versions.find_spec
    monkeypatch.setattr(versions, 'find_spec', lambda name: None if name in ('mmseg', 'mmdet') else real(name))
    with pytest.raises(ImportError, match=r"denseclip.segment needs mmseg, mmdet.*pip install 'denseclip-suite\[mm\]'"):
        versions.require_host_stack('denseclip.segment')
