"""``denseclip serve``: what cannot work is refused before a model is loaded."""

from __future__ import annotations

import argparse

import pytest

from denseclip.cli import serve
from denseclip.cli.main import main


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run the command with options that cannot work; gives its sentence."""
    monkeypatch.setattr(serve, '_load', lambda *_: pytest.fail('a model was loaded'))
    monkeypatch.delenv(serve.TOKEN, raising=False)

    def call(*options):
        assert main(['serve', *options]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        return said

    return call


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--host', '0.0.0.0'], '--no-token'),
        (['--port', '99999'], '65535'),
        (['--token', 'short'], '8 or more'),
        (['--token', 'long-enough', '--no-token'], 'exclude each other'),
        (['--max-megapixels', '0'], '--max-megapixels 0 must be above 0'),
        (['--timeout', '-3'], '--timeout -3 must be above 0'),
        (['--host', 'no.such.host.invalid', '--no-token'], 'no address'),
        (['--port', '0', '--classes', 'sky; sky'], 'duplicate'),
        (['--port', '0', '--model', 'nonesuch'], "no model is called 'nonesuch'"),
    ],
)
def test_what_cannot_work_is_said_at_once(refused, options, said):
    assert said in refused(*options)


def test_the_token_may_come_from_the_environment(refused, monkeypatch):
    monkeypatch.setenv(serve.TOKEN, 'short')
    assert '8 or more' in refused()


def test_what_is_served_is_said(monkeypatch, capsys, tmp_path):
    """With the words of the options, at the address that was found."""
    served = {}
    monkeypatch.delenv(serve.TOKEN, raising=False)
    monkeypatch.setattr('denseclip.cli.pictures.load_aloud', lambda load: type('Model', (), {'task': 'semantic'})())
    monkeypatch.setattr(
        'denseclip.serving.server.serve', lambda model, name, place, *args, **options: served.update(options, name=name)
    )
    assert main(['serve', '--port', '0', '--model', 'sclip']) == 0
    out = capsys.readouterr().out
    assert 'sclip: semantic; a request brings words' in out and 'http://127.0.0.1:' in out
    assert served['needs_words'] and served['name'] == 'sclip'
    assert main(['serve', '--port', '0', '--model', 'sclip', '--classes', 'sky; road']) == 0
    assert not served['needs_words']
    (tmp_path / 'words.txt').write_text('sky\nroad\n')
    assert main(['serve', '--port', '0', '--model', 'sclip', '--classes-file', str(tmp_path / 'words.txt')]) == 0
    assert not served['needs_words']


@pytest.mark.parametrize(
    ('name', 'public'),
    [
        (None, 'bundled model'),
        ('sclip', 'sclip'),
        ('hf-hub:me/mine', 'hf-hub:me/mine'),
        ('/home/me/secret/exported/', 'exported'),
        ('local-dir:/home/me/mine', 'mine'),
        ('../configs/mine.py', 'mine.py'),
    ],
)
def test_nobody_learns_where_a_model_lies(name, public):
    assert serve.public_name(name) == public


def test_models_beside_the_first_are_loaded_by_name(monkeypatch):
    loaded, served = {}, {}
    model = type('Model', (), {'task': 'semantic'})()
    monkeypatch.setattr(
        'denseclip.apis.loading.load_model', lambda name, **given: loaded.update({name: given}) or model
    )
    monkeypatch.setattr('denseclip.cli.pictures.load_aloud', lambda load: load())
    monkeypatch.setattr('denseclip.serving.server.serve', lambda *args, **options: served.update(options))
    given = ['--model', 'sclip', '--beside', 'naclip', 'maskclip', '--pretrained', 'x.pt']
    assert main(['serve', '--port', '0', *given]) == 0
    assert list(loaded) == ['sclip', *served['beside']] == ['sclip', 'naclip', 'maskclip']
    assert all(given['pretrained'] == 'x.pt' and given['words'] for given in loaded.values())


@pytest.mark.parametrize(
    ('model', 'takers'), [('fcclip', ['naclip']), (None, ['naclip']), ('proxyclip', ['proxyclip', 'naclip'])]
)
def test_a_clip_is_given_to_those_that_take_one(model, takers):
    given = {'model': model, 'beside': ['naclip', 'maft'], 'clip': None, 'pretrained': 'x.pt', 'dino': 'd.pt'}
    given |= {'masks': 'superpixels'}
    args = argparse.Namespace(**given)
    found = {
        one: serve._networks(args, beside) for one, beside in ((model, None), ('naclip', 'naclip'), ('maft', 'maft'))
    }
    assert [one for one, networks in found.items() if networks['pretrained']] == takers
    # What nobody takes the first refuses in its own words.
    assert [one for one, networks in found.items() if networks['dino']] == [model]
    assert [one for one, networks in found.items() if networks['masks']] == [model]


@pytest.mark.parametrize(('names', 'takers'), [(('sclip', 'corrclip'), ['corrclip']), (('ovseg', 'sclip'), ['ovseg'])])
def test_masks_are_given_to_those_that_take_some(names, takers):
    options = {'clip': None, 'pretrained': None, 'dino': None, 'masks': 'superpixels'}
    args = argparse.Namespace(model=names[0], beside=names[1:], **options)
    assert [name for name in names if serve._networks(args, None if name == names[0] else name)['masks']] == takers


def test_masks_of_names_are_refused(refused, tmp_path):
    assert '--masks FOLDER finds masks by the names' in refused('--port', '0', '--masks', str(tmp_path))


def test_a_model_stands_beside_another_once(refused):
    assert "two models are called 'sclip'" in refused('--port', '0', '--model', 'sclip', '--beside', 'naclip', 'sclip')
