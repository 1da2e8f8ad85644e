"""``denseclip label --engine ray`` and ``--from-shards``: what a user types and sees."""

import json

import pytest
from drawn_shards import one_process, pictures
from drawn_teacher import DrawnTeacher

from denseclip.apis.labelling.cluster import engine
from denseclip.cli import label
from denseclip.cli.main import main


@pytest.fixture
def shots(tmp_path, monkeypatch):
    """Pictures, a model that sees what was drawn, and shards that run here."""
    pictures(tmp_path / 'shots', 5)
    monkeypatch.setattr(label, 'load_teacher', lambda args, name, words: DrawnTeacher(words or 'road; sky'))
    monkeypatch.setattr(engine, 'run', lambda job, shards, cluster: one_process(job, shards))
    monkeypatch.setattr(engine, 'need_ray', lambda: None)
    return tmp_path / 'shots'


def test_it_says_what_there_is(shots, tmp_path, capsys):
    typed = ['label', str(shots), '--words', 'road; car; sky', '--out', str(tmp_path / 'out'), '--engine', 'ray']
    typed += ['--shard-size', '2']
    assert main(typed) == 0
    said = capsys.readouterr().out
    assert 'labelled: 5 of 5 pictures' in said and 'objects: road 5' in said and 'shards, 3 files' in said
    assert main([*typed, '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['pictures'], found['new'], found['shards'], found['dead_letters']) == (5, 0, 3, 0)
    assert main([*typed, '--min-area', '0.5']) == 2
    assert '--min-area' in capsys.readouterr().err
    assert main(['label', str(tmp_path / 'out'), '--from-shards', '--out', str(tmp_path / 'coco'), '--to', 'coco']) == 0
    assert 'labelled: 5 of 5 pictures' in capsys.readouterr().out
    assert len(json.loads((tmp_path / 'coco/annotations/instances.json').read_text())['images']) == 5


def test_confidences_and_the_files_of_the_model(shots, tmp_path, monkeypatch, capsys):
    """What ``distill`` learns from comes out of shards, too; other weights of the same name are refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'w.safetensors').write_bytes(b'weights')
    typed = ['label', 'shots', '--words', 'road; sky', '--out', 'out', '--engine', 'ray', '--confidences']
    typed += ['--weights', 'w.safetensors', '--config', 'some']
    assert main(typed) == 0
    known = json.loads((tmp_path / 'out/run.json').read_text())['run']
    assert known['options']['confidences'] and list(known['model']['files']) == ['w.safetensors']
    assert main(['label', 'out', '--from-shards', '--out', 'maps', '--to', 'masks', '--confidences']) == 0
    assert len(list((tmp_path / 'maps/confidences').rglob('*.png'))) == 5
    (tmp_path / 'w.safetensors').write_bytes(b'others')
    capsys.readouterr()
    assert main(typed) == 2
    assert 'begun otherwise (the files of the model)' in capsys.readouterr().err


def test_dead_letters_are_said(shots, tmp_path, capsys):
    (shots / 'bad.png').write_bytes(b'no')
    typed = ['label', str(shots), '--words', 'road; sky', '--out', str(tmp_path / 'out'), '--engine', 'ray']
    assert main(typed) == 2
    assert '1 of 6 pictures failed' in (error := capsys.readouterr().err) and 'bad.png' in error
    assert main([*typed, '--json']) == 2
    assert json.loads(capsys.readouterr().out)['failures'][0]['picture'] == 'bad.png'

    capsys.readouterr()
    assert main(['label', str(tmp_path / 'out'), '--from-shards', '--out', str(tmp_path / 'coco')]) == 2
    shown = capsys.readouterr()
    assert 'labelled: 5 of 6 pictures' in shown.out and 'bad.png' in shown.err
    assert (tmp_path / 'coco/failures.csv').read_text().startswith('picture,reason\nbad.png,')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--from-shards', '--words', 'a; b', '--min-confidence', '0.9', '--model', 'sclip'], '--words, --min-conf'),
        (['--from-shards', '--min-area', '0.5', '--split-regions'], '--split-regions, --min-area cannot'),
        (['--from-shards', '--label-maps'], '--label-maps'),
        (['--engine', 'ray', '--to', 'coco'], '--from-shards'),
        (['--engine', 'ray', '--pictures', 'copy'], '--from-shards'),
        (['--engine', 'ray', '--tolerance', '1'], '--tolerance'),
        (['--engine', 'ray', '--gpus-per-actor', '-1'], '--gpus-per-actor'),
        (['--engine', 'ray', '--image-column', 'x'], '--image-column'),
        (['--actors', '2'], '--engine ray'),
        (['--label-maps'], '--engine ray'),
        (['more'], 'one folder'),
        (['--from-shards'], 'was not begun'),
    ],
)
def test_what_does_not_go_together_is_one_sentence(shots, tmp_path, capsys, options, said):
    place = 2 if options == ['more'] else 4
    typed = ['label', str(shots), '--out', str(tmp_path / 'out')]
    assert main([*typed[:place], *options, *typed[place:]]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_without_ray_it_says_what_to_install(shots, tmp_path, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setitem(__import__('sys').modules, 'ray', None)
    assert main(['label', str(shots), '--words', 'a; b', '--out', str(tmp_path / 'out'), '--engine', 'ray']) == 2
    assert "pip install 'denseclip-suite[ray]'" in capsys.readouterr().err
