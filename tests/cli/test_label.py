"""``denseclip label``: what a user types and sees."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_teacher import DrawnTeacher, draw_picture

from denseclip.cli import label
from denseclip.cli.main import main


@pytest.fixture
def shots(tmp_path):
    for place in range(3):
        draw_picture(tmp_path / 'shots' / f'{place}.png', place)
    return tmp_path / 'shots'


@pytest.fixture
def teacher(monkeypatch):
    """The words of the command line, seen by a model that sees what was drawn."""
    made = []

    def load(args, name, vocabulary):
        made.append(DrawnTeacher(vocabulary or 'road; sky'))
        return made[-1]

    monkeypatch.setattr(label, 'load_teacher', load)
    return made


def test_it_says_what_there_is(shots, tmp_path, teacher, capsys):
    typed = ['label', str(shots), '--words', 'road; car = auto; sky', '--out', str(tmp_path / 'out')]
    assert main(typed) == 0
    said = capsys.readouterr().out
    assert 'labelled: 3 of 3 pictures' in said and 'objects: road ' in said and 'as coco' in said
    assert main(typed) == 0
    assert '3 of them before' in capsys.readouterr().out and not teacher[1].seen
    assert main([*typed, '--tolerance', '2']) == 2
    assert '--tolerance' in capsys.readouterr().err


def test_other_weights_of_the_same_name_are_refused(shots, tmp_path, teacher, capsys):
    """A folder is labelled by one model; one that an earlier version began, which noted no files, goes on."""
    weights = tmp_path / 'w.safetensors'
    weights.write_bytes(b'weights')
    typed = ['label', str(shots), '--out', str(tmp_path / 'out'), '--config', 'some', '--weights', str(weights)]
    assert main(typed) == 0
    weights.write_bytes(b'others')
    draw_picture(shots / 'new.png', 3)
    capsys.readouterr()
    assert main(typed) == 2
    assert 'begun otherwise (the files of the model)' in capsys.readouterr().err and not teacher[-1].seen
    record = tmp_path / 'out/.denseclip/run.record'
    known = json.loads(record.read_text())
    del known['model']['files']
    record.write_text(json.dumps(known))
    assert main(typed) == 0
    assert 'labelled: 4 of 4' in capsys.readouterr().out


def test_a_head_is_part_of_the_model(shots, tmp_path, teacher, capsys):
    head = tmp_path / 'head.safetensors'
    head.write_bytes(b'head')
    typed = ['label', str(shots), '--words', 'road; sky', '--out', str(tmp_path / 'out'), '--head', str(head)]
    assert main(typed) == 0
    known = json.loads((tmp_path / 'out/.denseclip/run.record').read_text())['model']
    assert known['head'] == str(head) and list(known['files']) == [str(head)]
    assert main(typed[:-2]) == 2 and '--head' in capsys.readouterr().err
    assert main([*typed, '--runtime', 'exported']) == 2 and '--head goes with a model' in capsys.readouterr().err


def test_what_systems_strew_is_no_stranger(shots, tmp_path, teacher, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/.DS_Store').touch()
    typed = ['label', str(shots), '--words', 'road; sky', '--out', str(tmp_path / 'out')]
    assert main(typed) == 0
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/notes.txt').touch()
    assert main([*typed[:-1], str(tmp_path / 'other')]) == 2 and 'notes.txt' in capsys.readouterr().err


def test_pictures_that_fail_are_listed_at_the_end(shots, tmp_path, teacher, capsys):
    (shots / 'bad.png').write_bytes(b'no')
    assert main(['label', str(shots), '--words', 'road; sky', '--out', str(tmp_path / 'out'), '--json']) == 2
    said = json.loads(capsys.readouterr().out)
    assert said['pictures'] == 3 and said['failures'][0]['picture'] == 'bad.png'
    assert sum(said['objects'].values()) == 6
    assert main(['label', str(shots), '--words', 'road; sky', '--out', str(tmp_path / 'out')]) == 2
    shown = capsys.readouterr()
    assert '1 of 4 pictures failed' in shown.err and 'bad.png' in shown.err


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--tolerance', '-1'], '--tolerance'),
        (['--min-area', '2'], '--min-area'),
        (['--confidences'], '--to masks'),
        (['--words', 'road; road'], 'twice'),
        (['--score', '0.6', '--min-confidence', '0.3'], '--score and --min-confidence'),
        (['--model', 'naclip', '--preset', 'sclip'], '--preset'),
    ],
)
def test_what_does_not_go_together_is_one_sentence(shots, tmp_path, teacher, capsys, options, said):
    assert main(['label', str(shots), '--out', str(tmp_path / 'out'), *options]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / 'out').exists()


ALONE = """
import sys
absent = {'torch', 'torchvision', 'open_clip', 'timm', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'cv2', 'pycocotools'}
for finder in sys.meta_path:
    if hasattr(finder, 'find_spec'):
        def find_spec(name, path=None, target=None, find=finder.find_spec):
            return None if name.partition('.')[0] in absent else find(name, path, target)
        finder.find_spec = find_spec
from denseclip.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_exported_model_is_asked_for_without_pytorch_and_opencv(shots, tmp_path):
    typed = ['label', str(shots), '--runtime', 'nowhere', '--words', 'road; sky', '--out', str(tmp_path / 'out')]
    root = Path(__file__).parents[2]
    command = [sys.executable, '-c', ALONE, *typed]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and 'nowhere' in done.stderr and 'needs' not in done.stderr, done.stderr
