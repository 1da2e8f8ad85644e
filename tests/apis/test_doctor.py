"""The doctor on this machine, and on machines with something wrong."""

import io
import os
from importlib import metadata

import pytest

from denseclip.apis import doctor
from denseclip.compat.versions import CORE, UPSTREAM


@pytest.fixture
def installed(monkeypatch):
    """Pretend that distributions have other versions; None for not installed."""
    changes = {}
    real = metadata.version

    def version(name):
        if name in changes:
            if changes[name] is None:
                raise metadata.PackageNotFoundError(name)
            return changes[name]
        return real(name)

    monkeypatch.setattr(metadata, 'version', version)
    return changes


def _report():
    stream = io.StringIO()
    code = doctor.run_doctor(stream)
    return code, stream.getvalue()


def _one(findings, level='problem'):
    (found,) = [finding for finding in findings if finding.level == level]
    return found


def test_this_machine_is_usable():
    code, report = _report()
    assert code == 0, report
    for expected in ('python 3.', 'torch ', 'mmsegmentation 1.2.2', 'open_clip_torch', 'mmcv operators', 'cpu: '):
        assert expected in report
    assert 'float32 float16 bfloat16' in report
    assert report.endswith('denseclip is usable\n')


def test_unsupported_version(installed):
    installed['timm'] = '0.9.1'
    found = _one(doctor.check_core())
    assert found.text == 'timm 0.9.1 is not supported, needs >=1.0'
    assert found.remedy == "pip install 'timm>=1.0'"
    code, report = _report()
    assert code == 1
    assert report.endswith('1 problem found\n')


def test_missing_host_package_names_the_extra(installed):
    installed['mmdet'] = None
    found = _one(doctor.check_host_stack())
    assert found.text.startswith('mmdet is not installed')
    assert found.remedy == "pip install 'denseclip-suite[mm]'"


def test_exported_models_need_neither_pytorch_nor_the_host(installed, monkeypatch):
    installed.update(dict.fromkeys([one.name for one in (*CORE, *UPSTREAM) if one.extra]))
    monkeypatch.setattr(doctor, 'find_spec', lambda name: None)
    code, report = _report()
    assert code == 0 and report.endswith('denseclip is usable, with exported models (--runtime)\n'), report
    assert "note    mmdet is not installed (==3.3.0)  ->  pip install 'denseclip-suite[mm]'" in report
    installed.update({'onnxruntime': None, 'openvino': None})
    assert _report()[0] == 1


def test_opencv_counts_under_either_name(installed):
    installed.update({'opencv-python': None, 'opencv-python-headless': '4.10.0'})
    assert any(finding.text == 'opencv-python 4.10.0' for finding in doctor.check_extras())


def test_torch_and_torchvision_of_different_releases(installed):
    installed['torch'] = '2.13.0+cpu'
    found = _one(doctor.check_core())
    assert 'belongs to torch' in found.text
    assert 'torch 2.13.0+cpu is installed' in found.text
    assert found.remedy.startswith("pip install 'torch")
    assert found.remedy.endswith(f"'torchvision=={metadata.version('torchvision')}'")


def test_local_build_label_is_no_mismatch(installed):
    installed['torch'] = metadata.version('torch').split('+')[0] + '+cpu'
    assert all(finding.level == 'ok' for finding in doctor.check_core())


def test_mixed_families(installed):
    installed['onedl-mmcv'] = '2.3.6'
    problems = [finding for finding in doctor.check_host_stack() if 'overwrite each other' in finding.text]
    assert problems[0].remedy.startswith('pip uninstall -y mmengine mmcv-lite mmsegmentation mmdet onedl-mmcv && ')


def test_two_mmcv_distributions(installed):
    installed['mmcv'] = '2.1.0'
    found = _one(doctor.check_host_stack())
    assert found.text == 'mmcv and mmcv-lite overwrite each other'
    assert found.remedy == "pip uninstall -y mmcv mmcv-lite && pip install 'mmcv-lite==2.1.0'"


def test_mmcv_built_from_source_is_fine(installed):
    installed.update({'mmcv': '2.1.0', 'mmcv-lite': None})
    assert all(finding.level == 'ok' for finding in doctor.check_host_stack())


def test_emptied_package(monkeypatch):
    real = doctor.find_spec
    monkeypatch.setattr(doctor, 'find_spec', lambda name: None if name == 'mmcv' else real(name))
    found = _one(doctor.check_host_stack())
    assert "'mmcv' has no files" in found.text
    assert found.remedy == "pip install --force-reinstall --no-deps 'mmcv-lite==2.1.0'"


@pytest.mark.parametrize(
    ('error', 'remedy'),
    [
        (ImportError('libGL.so.1: cannot open shared object file'), 'opencv-python-headless'),
        (ModuleNotFoundError("No module named 'ftfy'", name='ftfy'), "pip install 'denseclip-suite[torch]'"),
        (ModuleNotFoundError("No module named 'mmdet'", name='mmdet.models'), 'denseclip-suite[mm]'),
        (ModuleNotFoundError("No module named 'x'", name='x.y'), 'pip install x'),
        (AssertionError('MMCV==2.2.0 is used but incompatible'), '--force-reinstall'),
    ],
)
def test_import_errors_have_remedies(monkeypatch, error, remedy):
    def fail(name):
        raise error

    monkeypatch.setattr(doctor.importlib, 'import_module', fail)
    findings = [finding for finding in doctor.check_host_stack() if finding.level == 'problem']
    assert findings
    assert all(remedy in finding.remedy for finding in findings)


def test_reinstalling_names_packages_that_an_index_has(installed):
    """The suite itself comes from a checkout; pip would look for it in vain."""
    remedy = doctor._remedy_for(AssertionError('MMCV==2.2.0 is used but incompatible'))
    assert 'denseclip' not in remedy and '--no-deps' in remedy
    assert remedy.endswith("'mmengine>=0.10.7,<0.11' 'mmcv-lite==2.1.0' 'mmsegmentation==1.2.2' 'mmdet==3.3.0'")


def test_a_check_that_crashes_is_a_problem(monkeypatch):
    def check():
        yield doctor.Finding('ok', 'before')
        raise RuntimeError('operator torchvision::nms does not exist\nmore')

    monkeypatch.setattr(doctor, 'CHECKS', {'title': check})
    code, report = _report()
    assert code == 1
    assert 'check failed: RuntimeError: operator torchvision::nms does not exist  ->  pip' in report


def test_every_problem_and_remedy_is_one_line(installed):
    installed.update(dict.fromkeys(('torchvision', 'mmcv-lite', 'transformers', 'numpy')))
    _, report = _report()
    lines = [line for line in report.splitlines() if 'problem ' in line or 'note ' in line]
    assert len(lines) >= 4
    assert all('->' in line or 'no GPU' in line for line in lines)


def test_optional_package(installed):
    installed.update({'tensorboard': None, 'transformers': '4.1'})
    notes = [finding for finding in doctor.check_extras() if finding.level == 'note']
    assert [note.remedy for note in notes] == [
        "pip install 'denseclip-suite[demo]'",
        "pip install 'denseclip-suite[train]'",
    ]
    assert 'transformers 4.1, needs >=4.40' in notes[0].text
    assert 'tensorboard not installed (training curves)' in notes[1].text


def test_old_python(monkeypatch):
    monkeypatch.setattr(doctor.platform, 'python_version', lambda: '3.9.18')
    assert 'supported Python' in _one(doctor.check_python()).remedy


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('DENSECLIP_CACHE', str(tmp_path / 'new'))
    assert _one(doctor.check_cache(), 'ok').text == f'text cache: {tmp_path / "new" / "text"}'
    assert os.listdir(tmp_path) == []
    (tmp_path / 'file').touch()
    monkeypatch.setenv('DENSECLIP_CACHE', str(tmp_path / 'file'))
    assert 'DENSECLIP_CACHE=FOLDER' in _one(doctor.check_cache(), 'note').remedy


def test_wrong_operators_are_found(monkeypatch):
    import mmcv.ops
    import torch

    monkeypatch.setattr(mmcv.ops, 'nms', lambda boxes, scores, threshold: (None, torch.arange(3)))
    assert 'nms kept [0, 1, 2], not [1, 2]' in _one(doctor.check_operators()).text
