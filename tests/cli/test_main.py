"""The command line: results where they belong, errors in one line, nothing overwritten unasked."""

import csv
import json
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from denseclip.apis import inferencer as inferencer_module
from denseclip.apis.catalogue import list_models
from denseclip.cli import segment
from denseclip.cli.main import main
from denseclip.version import __version__


@pytest.fixture
def bundled(monkeypatch, model_files):
    """The tiny model in the place of the bundled one."""
    monkeypatch.setattr(inferencer_module, 'default_model', lambda: model_files)


@pytest.fixture
def run(bundled, inferencer, monkeypatch, tmp_path, capsys):
    """Run ``denseclip segment`` with an already loaded model; gives exit code, output and errors."""

    def load(args, name, vocabulary):
        inferencer.set_vocabulary(vocabulary or inferencer.own_vocabulary)
        return inferencer

    monkeypatch.setattr(segment, 'load_segmentor', load)

    def call(*images, classes='temple; sky=heavens; trees', out=tmp_path / 'out', options=()):
        words = [] if classes is None else ['--classes', classes]
        code = main(['segment', *map(str, images), *words, '--out', str(out), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def failed(result, *needles):
    """Whether the command failed with one line that holds all needles."""
    code, _, err = result
    assert code == 2
    assert len(err.strip().splitlines()) == 1, err
    assert 'Traceback' not in err
    for needle in needles:
        assert needle in err
    return True


def test_words_as_people_type_them(run, photo, tmp_path):
    """A comma, JSON, a path: each is read as what it means, and how is said."""
    listed = tmp_path / 'words.json'
    listed.write_text('["temple", "sky", "trees"]')
    numbered = tmp_path / 'words.txt'
    numbered.write_text('0:invalid_class_id\n1:temple\n2:sky,heavens\n3:trees\n')
    for typed, said in (
        ('temple, sky, trees', 'read as 3 classes'),
        ('["temple", "sky", "trees"]', ''),
        ('{"temple": [], "sky": ["heavens"], "trees": []}', ''),
        (str(listed), f"read from the file '{listed}'"),
        (str(numbered), 'are ids, no names'),
    ):
        code, out, _ = run(photo, classes=typed, options=['--force'])
        assert code == 0 and '3 classes, background: none' in out and said in out
        assert ('note: ' in out) is bool(said)
        rows = list(csv.DictReader((tmp_path / 'out' / 'photo_areas.csv').open(encoding='utf-8')))
        assert [row['class'] for row in rows] == ['temple', 'sky', 'trees']
    code, out, _ = run(photo, classes=None, options=['--classes-file', str(numbered), '--force'])
    assert code == 0 and '1  sky = heavens' in out


def test_lists_that_cannot_be_read_name_file_and_line(run, photo, tmp_path):
    path = tmp_path / 'words.txt'
    for content, said in (
        ('temple\nB\xe4ume\n'.encode('latin-1'), 'line 2: no UTF-8'),
        (b'["temple",\n"sky" "trees"]', 'line 2, column 7: no JSON'),
        (b'temple\nsky\ntemple\n', 'line 3: duplicate class name'),
    ):
        path.write_bytes(content)
        assert failed(run(photo, classes=str(path)), str(path), said)
        assert failed(run(photo, classes=None, options=['--classes-file', str(path)]), str(path), said)


def test_results(run, photo, tmp_path):
    code, out, err = run(photo)
    assert (code, err) == (0, '')
    names = ['photo_areas.csv', 'photo_labels.png', 'photo_overlay.png']
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == names
    rows = list(csv.DictReader((tmp_path / 'out' / 'photo_areas.csv').open(encoding='utf-8')))
    assert [row['class'] for row in rows] == ['temple', 'sky', 'trees']
    assert sum(int(row['pixels']) for row in rows) == 60 * 90
    assert '1  sky = heavens' in out  # the vocabulary as parsed
    assert 'photo.png  90 x 60' in out
    assert f'written: {tmp_path / "out" / "photo_overlay.png"}' in out
    assert '%' in out


def test_the_model_s_own_words_and_class_files(run, photo, tmp_path):
    code, out, _ = run(photo, classes=None)
    assert code == 0
    assert 'traffic light' in out
    words = tmp_path / 'words.txt'
    words.write_text('# mine\nlake\nhill = mountain\n', encoding='utf-8')
    code, out, _ = run(photo, classes=None, options=['--classes-file', str(words), '--force'])
    assert code == 0
    assert 'hill = mountain' in out


def test_good_and_bad_pictures_together(run, photo, tmp_path):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'')
    code, out, err = run(broken, photo, tmp_path / 'missing.png')
    assert code == 2
    assert (tmp_path / 'out' / 'photo_overlay.png').is_file()
    assert '2 of 3 pictures failed' in err
    assert 'broken.jpg' in err
    assert 'missing.png' in err
    assert 'Traceback' not in err


def test_one_bad_picture_is_one_line(run, tmp_path):
    assert failed(run(tmp_path / 'missing.png'), 'missing.png', 'there is no such file', 'Check the spelling')


def test_equal_names_in_two_folders(run, photo, tmp_path):
    for folder in ('left', 'right'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'car.png').write_bytes(photo.read_bytes())
    assert run(tmp_path / 'left', tmp_path / 'right')[0] == 0
    assert {p.name for p in (tmp_path / 'out').glob('*_labels.png')} == {'left_car_labels.png', 'right_car_labels.png'}


def test_earlier_results_are_kept_without_force(run, photo, tmp_path):
    assert run(photo)[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / 'out').iterdir()}
    assert failed(run(photo, classes='lake'), 'earlier results', 'photo_overlay.png', '--force')
    assert {p: p.read_bytes() for p in (tmp_path / 'out').iterdir()} == before
    assert run(photo, classes='lake', options=['--force'])[0] == 0
    assert {p: p.read_bytes() for p in (tmp_path / 'out').iterdir()} != before


def test_results_do_not_go_among_the_pictures_of_a_folder(run, photo, tmp_path):
    """The next call would read them; a folder in it is none of its pictures, and so is that of a picture."""
    shots = tmp_path / 'shots'
    shots.mkdir()
    (shots / 'car.png').write_bytes(photo.read_bytes())
    assert failed(run(shots, out=shots), '--out', 'the same folder', 'shots')
    assert [path.name for path in shots.iterdir()] == ['car.png']
    assert run(shots, out=shots / 'found')[0] == 0 and run(shots / 'car.png', out=shots)[0] == 0


def test_one_least_score_of_instances(run, photo, tmp_path):
    options = ['--score', '0.6', '--min-confidence', '0.3']
    assert failed(run(photo, options=options), '--score and --min-confidence')
    assert not (tmp_path / 'out').exists()


def test_out_that_cannot_be_written(run, photo, tmp_path):
    (tmp_path / 'file').touch()
    assert failed(run(photo, out=tmp_path / 'file'), 'is a file, not a folder')


@pytest.mark.parametrize(
    ('classes', 'needle'),
    [
        ('', 'vocabulary is empty'),
        (' ; ', 'vocabulary is empty'),
        ('sky; ; road', 'empty name'),
        ('sky; road; Sky', 'duplicate class name'),
        ('sky; road=sky', 'duplicate class name'),
    ],
)
def test_words_that_cannot_be_used(run, photo, classes, needle, tmp_path):
    assert failed(run(photo, classes=classes), needle)
    assert not (tmp_path / 'out').exists()


def test_braces_are_text_and_long_names_are_named(run, photo):
    code, out, _ = run(photo, classes='a {} thing; {0}; sky')
    assert code == 0
    assert 'a {} thing' in out
    long = 'one two three four five six seven eight nine ten'
    assert failed(run(photo, classes=f'sky; {long}', options=['--force']), long)


@pytest.mark.parametrize(
    ('options', 'needle'),
    [
        (['--background', 'threshold'], '--threshold SCORE'),
        (['--threshold', '0.5'], '--threshold SCORE'),
        (['--background', 'clipn'], 'no background policy "clipn"'),
        (['--background', 'gda'], "needs --head FILE, which 'denseclip adapt' makes"),
        (['--background', 'gda', '--head', 'x', '--unknown', '0.9'], 'the same as --background gda --threshold'),
        (['--background', 'threshold', '--threshold', '0.5', '--background-names', 'x'], '--background-names'),
    ],
)
def test_background_options_that_do_not_fit(run, photo, options, needle):
    assert failed(run(photo, options=options), needle)


def test_background_prompts(run, photo):
    code, out, _ = run(photo, options=['--background-names', 'wall, floor'])
    assert code == 0
    assert 'background = wall, floor' in out
    assert 'background = background, something else' in run(photo, options=['--background', 'prompts', '--force'])[1]
    assert failed(run(photo, classes=None, options=['--background', 'prompts', '--force']), 'give --classes')


def test_folder_without_pictures(run, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert failed(run(tmp_path / 'empty'), 'holds no pictures')


class RunsCode:
    """Unpickling an instance makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_does_not_run(bundled, model_files, photo, tmp_path, capsys):
    bad, trace = tmp_path / 'bad.pth', tmp_path / 'ran'
    torch.save({'state_dict': {'x': torch.zeros(1)}, 'extra': RunsCode(trace)}, bad, pickle_module=pickle)
    model = ['--config', str(model_files[0]), '--weights', str(bad)]
    code = main(['segment', str(photo), '--classes', 'sky', '--out', str(tmp_path / 'out'), *model])
    assert failed((code, *capsys.readouterr()), 'bad.pth', '--trust')
    assert not trace.exists()


def test_the_default_model_and_a_wrong_checkpoint(bundled, model_files, photo, tmp_path, capsys):
    arguments = ['segment', str(photo), '--out', str(tmp_path / 'out'), '--device', 'cpu']
    assert main(arguments) == 0
    capsys.readouterr()
    wrong = tmp_path / 'wrong.pth'
    torch.save({'state_dict': {'y': torch.zeros(1)}}, wrong)
    code = main([*arguments, '--force', '--config', str(model_files[0]), '--weights', str(wrong)])
    assert failed((code, *capsys.readouterr()), 'wrong.pth', 'missing', 'unexpected: y')


def test_unforeseen_errors_are_one_line_and_debug_shows_them(run, photo, monkeypatch):
    def fail(*_args):
        raise ZeroDivisionError('division\nby zero')

    monkeypatch.setattr(segment, 'load_segmentor', fail)
    assert failed(run(photo), 'unexpected ZeroDivisionError: division by zero', '--debug')
    with pytest.raises(ZeroDivisionError):
        run(photo, options=['--debug'])


def test_without_the_host_stack(monkeypatch, photo, tmp_path, capsys):
    monkeypatch.setattr('denseclip.compat.versions.find_spec', lambda _: None)
    code = main(['segment', str(photo), '--classes', 'sky', '--out', str(tmp_path / 'out')])
    assert failed((code, *capsys.readouterr()), "pip install 'denseclip-suite[mm]'")


def test_interrupt(run, photo, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(segment, 'load_segmentor', interrupt)
    code, _, err = run(photo)
    assert (code, err) == (130, 'denseclip: interrupted\n')


def test_usage(capsys, monkeypatch):
    assert main([]) == 2
    assert 'segment' in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(['--version'])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f'denseclip {__version__}\n'
    with pytest.raises(SystemExit) as caught:
        main(['segment', 'x.jpg', '--classes', 'sky', '--classes-file', 'f', '--out', 'o'])
    assert caught.value.code == 2


def test_doctor_gives_its_exit_code(monkeypatch):
    monkeypatch.setattr('denseclip.apis.doctor.run_doctor', lambda: 1)
    assert main(['doctor']) == 1


def test_large_picture_is_written_in_full(run, tmp_path):
    path = tmp_path / 'wide.png'
    Image.fromarray(np.zeros((30, 12_000, 3), np.uint8)).save(path)
    assert run(path)[0] == 0
    with Image.open(tmp_path / 'out' / 'wide_labels.png') as labels:
        assert labels.size == (12_000, 30)


def test_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['denseclip', '--version'])
    with pytest.raises(SystemExit) as done:
        runpy.run_module('denseclip', run_name='__main__')
    assert done.value.code == 0 and capsys.readouterr().out == f'denseclip {__version__}\n'


def test_json_is_all_that_stands_on_standard_output(run, photo, tmp_path):
    code, out, err = run(photo, tmp_path / 'gone.png', classes='temple, sky', options=['--json'])
    assert code == 2 and 'gone.png' in err and 'note: ' in err  # of how the words were read
    first, second = map(json.loads, out.splitlines())
    assert (first['kind'], first['classes']) == ('semantic', ['temple', 'sky']) and 'gone.png' in second['error']
    assert [Path(file).name for file in first['files']] == ['photo_overlay.png', 'photo_labels.png', 'photo_areas.csv']
    assert sum(entry['area'] for entry in first['objects']) == 60 * 90
    code = main(['segment', str(photo), '--json'])
    assert code == 0


def test_results_that_would_go_nowhere_are_refused(photo, capsys):
    for options, said in (([], '--out DIR, or --json'), (['--json', '--formats', 'coco'], '--out DIR')):
        assert failed((main(['segment', str(photo), *options]), *capsys.readouterr()), said)


def test_formats_are_rows_of_the_table(run, photo, tmp_path):
    assert run(photo, options=['--formats', 'coco,labelme'])[0] == 0
    assert sorted(file.name for file in (tmp_path / 'out').iterdir()) == ['photo_coco.json', 'photo_labelme.json']
    assert run(photo, options=['--formats', 'usual'])[0] == 0  # other files: nothing is overwritten
    assert failed(run(photo, options=['--formats', 'usual, coco']), 'earlier results')
    assert failed(run(photo, options=['--formats', 'labelmee', '--force']), "did you mean 'labelme'", 'overlay, labels')
    assert failed(run(photo, options=['--formats', 'segments', '--force']), 'no format of semantic results')


def test_quiet_and_verbose(run, photo, tmp_path):
    assert run(photo, options=['-q']) == (0, '', '')
    assert failed(run(photo, options=['-q']), '--force')
    code, out, err = run(photo, options=['-v', '--force'])
    assert code == 0 and 'DenseCLIP' in err and 'M parameters, cpu, fp32' in err and 'photo.png: ' in err
    assert err.count('\n') == 2 and 'photo.png  90 x 60' in out
    assert run(photo, options=['--force'])[2] == ''
    json_only = run(photo, options=['-q', '--json', '--force'])
    assert json_only[0] == 0 and json.loads(json_only[1])['kind'] == 'semantic' and json_only[2] == ''


def test_models_are_listed(capsys):
    assert main(['models', '--json']) == 0
    cards = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [card['name'] for card in cards] == [card.name for card in list_models()]
    assert main(['models', '--task', 'panoptic']) == 0
    out = capsys.readouterr().out
    assert out.startswith('methods') and 'fcclip' in out and 'naclip' not in out and 'needs weights' in out


def test_the_shell_is_answered_when_it_asks(monkeypatch):
    asked = []
    monkeypatch.setenv('_ARGCOMPLETE', '1')
    monkeypatch.setattr('argcomplete.autocomplete', asked.append)
    assert main([]) == 2
    [parser] = asked
    assert {'segment', 'detect', 'anomaly', 'models', 'doctor'} <= set(parser._subparsers._group_actions[0].choices)
