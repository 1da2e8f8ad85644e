"""Licences are known and allowed; a bill of materials names what is there; a missing network is a sentence."""

import json
from importlib import metadata

import pytest

from studies.supply import audit, sbom
from studies.supply.closure import closure, extras
from studies.supply.licences import ALLOWED, PAGE, licence_of, page_table, parts_of


@pytest.fixture(scope='module')
def brought():
    return closure((*extras(), 'test'))


def test_what_an_installation_brings(brought):
    assert {'numpy', 'torch', 'mmsegmentation', 'open-clip-torch', 'markupsafe', 'pytest'} <= brought.keys()
    assert 'pytest' not in closure(extras()) and 'denseclip-suite' not in brought
    assert not {name for name in brought if name.startswith('onedl')}


def test_what_is_asked_for_and_not_there_is_named(tmp_path, monkeypatch):
    """With who asks for it; what a marker or an extra leaves out is not asked for."""
    needs = ['there', 'gone>=1', 'other; extra == "more"', 'old; python_version < "3"']
    known = {'denseclip-suite': needs, 'there': ['deep[x]'], 'deep': ['lost; extra == "x"', 'no; extra == "y"']}
    for name, asked in known.items():
        folder = tmp_path / f'{name.replace("-", "_")}-1.0.dist-info'
        folder.mkdir()
        lines = ''.join(f'Requires-Dist: {line}\n' for line in asked)
        (folder / 'METADATA').write_text(f'Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{lines}')
    monkeypatch.setattr('sys.path', [str(tmp_path)])
    with pytest.raises(SystemExit, match=r'it brings: gone \(for denseclip-suite\), lost \(for deep\); pip install'):
        closure(('mm',))


def test_no_licence_comes_in_unseen(brought):
    """Another one is looked at by a person, then named in ``studies/supply/licences.py``."""
    unseen = {name: licence_of(part) for name, part in brought.items() if not parts_of(licence_of(part)) <= ALLOWED}
    assert unseen == {}


@pytest.mark.parametrize(
    ('fields', 'licence'),
    [
        ('License-Expression: apache-2.0 and mit\n', 'Apache-2.0 AND MIT'),
        ('License: BSD 3-Clause License\n', 'BSD-3-Clause'),
        ('License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n', 'MIT'),
        ('License: Copyright (c) somebody\nClassifier: License :: OSI Approved :: BSD License\n', 'BSD-3-Clause'),
        ('License: GPL-3.0-only\n', 'GPL-3.0-only'),
        ('License: ask the author\n', 'unknown'),
        ('', 'unknown'),
    ],
)
def test_metadata_become_names_of_licences(tmp_path, fields, licence):
    folder = tmp_path / 'some-1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.4\nName: some\nVersion: 1.0\n{fields}')
    found = licence_of(metadata.PathDistribution(folder))
    assert found == licence
    assert (parts_of(found) <= ALLOWED) == (licence not in ('unknown', 'GPL-3.0-only'))


def test_the_page_has_what_the_suite_asks_for(brought):
    text = PAGE.read_text(encoding='utf-8')
    rows = {
        name.strip(): row.split('|')[1].strip()
        for row in text.splitlines()
        if row.startswith('|')
        for name in row.split('|')[2].split(',')
    }
    asked = {'torch', 'mmengine', 'mmdet', 'open-clip-torch', 'timm', 'safetensors', 'rich', 'fastapi', 'onnxruntime'}
    assert {name: rows.get(name) for name in asked} == {name: licence_of(brought[name]) for name in asked}
    weights = page_table().partition('## Weights')[2]
    assert weights.strip() and weights.strip() in text


def component(name, version='1.0', **more):
    return {'bom-ref': f'{name}=={version}', 'type': 'library', 'name': name, 'version': version, **more}


def test_a_bill_holds_what_is_brought_and_no_folder_of_this_machine():
    here = [{'type': 'distribution', 'url': 'file:///home/somebody/denseclip'}]
    found = {
        'bomFormat': 'CycloneDX',
        'specVersion': '1.6',
        'version': 1,
        'metadata': {},
        'components': [
            component('denseclip-suite', externalReferences=here),
            component('PyYAML', externalReferences=here),
            component('stranger'),
        ],
        'dependencies': [
            {'ref': 'denseclip-suite==1.0', 'dependsOn': ['PyYAML==1.0', 'stranger==1.0']},
            {'ref': 'stranger==1.0'},
        ],
    }
    bill = sbom.bill(found)
    assert bill['metadata']['component']['name'] == 'denseclip-suite' and 'file:' not in json.dumps(bill)
    kinds = {part['name']: part['type'] for part in bill['components']}
    assert kinds.pop('PyYAML') == 'library' and 'stranger' not in kinds
    assert len(kinds) >= 4 and set(kinds.values()) == {'machine-learning-model'}
    assert bill['dependencies'] == [{'ref': 'denseclip-suite==1.0', 'dependsOn': ['PyYAML==1.0']}]


TORCH = {'name': 'torch', 'version': '2.14.1'}
WEAK = {'id': 'PYSEC-1', 'aliases': ['CVE-1'], 'fix_versions': ['2.15']}


@pytest.mark.parametrize(
    ('found', 'error', 'says', 'code'),
    [
        ([], 'ConnectionError: no route', 'no advisories could be had (ConnectionError: no route)', 0),
        ([{**TORCH, 'skip_reason': 'not found'}], '', 'no advisories could be had (not found)', 0),
        ([{**TORCH, 'vulns': []}], '', '1 packages asked, 0 weaknesses open', 0),
        ([{**TORCH, 'vulns': [WEAK]}], '', 'torch 2.14.1: PYSEC-1, mended in 2.15', 1),
    ],
)
def test_advisories_or_a_sentence(found, error, says, code):
    lines, result = audit.told(found, error)
    assert any(says in line for line in lines) and result == code


def test_without_the_tool_it_says_so(monkeypatch):
    monkeypatch.setattr(audit, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r"pip-audit is not installed.*pip install -e '\.\[supply\]'"):
        audit.ask()


def test_an_accepted_weakness_has_its_reason(monkeypatch):
    monkeypatch.setattr(audit, 'ACCEPTED', {'CVE-1': 'the suite never calls it'})
    lines, code = audit.told([{**TORCH, 'vulns': [WEAK]}], '')
    assert 'the suite never calls it' in lines[0] and code == 0
