"""What is read before a graph is opened: anything that is not an export is refused in a sentence."""

from __future__ import annotations

import json

import pytest

from denseclip.apis.errors import UserError
from denseclip.runtime import Manifest, load
from denseclip.runtime.manifest import FILE, Picture, Words, file_sum

STEPS = Picture((480, 360), True, 2048, True, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), crop=(64, 96), stride=(32, 48))
WORDS = Words(('a photo of a {}.',), 77, 0, ('none', 'prompts'), 384)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'image.onnx').write_bytes(b'no graph')
    sums = {'image': file_sum(tmp_path / 'image.onnx')}
    words = {'classes': {'sky': [], 'car': ['automobile']}, 'background': 'none'}
    manifest = Manifest('Some', STEPS, WORDS, words, ((1, 2, 3), (4, 5, 6)), {'image': 'image.onnx'}, sums)
    (tmp_path / FILE).write_text(manifest.to_json(), encoding='utf-8')
    return tmp_path


def changed(folder, **values):
    path = folder / FILE
    path.write_text(json.dumps({**json.loads(path.read_text(encoding='utf-8')), **values}), encoding='utf-8')
    return folder


def test_what_is_written_is_read(folder):
    found = Manifest.read(folder)
    assert (found.picture, found.words, found.palette) == (STEPS, WORDS, ((1, 2, 3), (4, 5, 6)))
    assert found.vocabulary['classes'] == {'sky': [], 'car': ['automobile']}


@pytest.mark.parametrize(
    ('values', 'says'),
    [
        ({'kind': 'other'}, 'no manifest of an exported model'),
        ({'format': 99}, 'has format 99'),
        ({'picture': {}}, 'is not complete'),
        ({'picture': {'resize': [1, 2, 3]}}, 'is not complete'),
        ({'words': {'templates': 'x'}}, 'is not complete'),
        ({'palette': ['red']}, 'is not complete'),
        ({'files': {'image': '../image.onnx'}}, 'lie beside it'),
        ({'files': {'image': '/etc/hostname'}}, 'lie beside it'),
        ({'files': {'image': 7}}, 'lie beside it'),
        ({'files': {'image': 'other.onnx'}}, 'is missing'),
        ({'sha256': {}}, 'sha256 differs'),
        ({'sha256': {'image': 'abc'}}, 'sha256 differs'),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, values, says):
    with pytest.raises(UserError, match=says):
        Manifest.read(changed(folder, **values))


def test_a_changed_byte_is_found(folder):
    path = next(folder.glob('*.onnx'))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r'image\.onnx.*sha256 differs'):
        Manifest.read(folder)


@pytest.mark.parametrize('content', ['', '{', '[]', '"text"', '\x00'])
def test_a_file_that_is_no_manifest_is_refused(folder, content):
    (folder / FILE).write_text(content, encoding='utf-8')
    with pytest.raises(UserError, match='manifest.json'):
        load(folder)


def test_a_folder_without_an_export_names_the_command(tmp_path):
    with pytest.raises(UserError, match='denseclip export'):
        load(tmp_path)
    with pytest.raises(UserError, match='denseclip export'):
        load(tmp_path / 'nowhere')


def test_a_file_that_is_no_graph_is_named(folder):
    with pytest.raises(UserError, match=r"onnxruntime cannot read '.*image.onnx'"):
        load(folder)
