"""Exports that cannot be made: each is a sentence that says what to do, and nothing is written."""

from __future__ import annotations

import pytest
from PIL import Image

from denseclip.cli.main import main

REQUESTS = {
    'no such model': (['nowhere'], "'nowhere'"),
    'walks': (['resclip'], 'as many steps as the picture has patches'),
    'prompts of masks': (['pmp_mask2former_r50_20k_ade20k-512x512'], 'its queries listen to other words'),
    'a training': (['adapt-coupled_vit-b16_5e_cococaptions-224x224'], 'it exists for training'),
    'two stages without weights': (['ovseg'], 'needs its checkpoint: give --weights'),
    'weights without a config': (['--weights', '{gone}'], '--weights are of which model?'),
    'a picture for a config': (['{pictures}/a.png'], 'a.png'),
    'a format nobody writes': (['--to', 'tflite'], 'invalid choice'),
    'a precision nobody knows': (['--precision', 'int4'], 'invalid choice'),
    'int8 without pictures': (['--precision', 'int8'], 'needs pictures to compare with: --calibrate FOLDER'),
    'fp16 without pictures': (['--precision', 'fp16'], 'needs pictures to compare with: --calibrate FOLDER'),
    'pictures without a precision': (['--calibrate', '{pictures}'], 'needs no --calibrate'),
    'a folder without pictures': (['--precision', 'int8', '--calibrate', '{empty}'], 'no pictures'),
    'a folder that is not there': (['--precision', 'int8', '--calibrate', '{gone}'], 'gone'),
    'no folder': ([], '--out'),
    'no words at all': (['--classes', ' ; '], 'class'),
    'a word twice': (['--classes', 'road; road'], "'road'"),
}


@pytest.fixture
def places(tmp_path):
    for name in ('empty', 'pictures'):
        (tmp_path / name).mkdir()
    Image.new('RGB', (9, 9)).save(tmp_path / 'pictures' / 'a.png')
    return {
        'empty': tmp_path / 'empty',
        'pictures': tmp_path / 'pictures',
        'gone': tmp_path / 'gone.pth',
    }


@pytest.mark.parametrize('case', REQUESTS)
def test_what_cannot_be_exported_is_a_sentence(case, places, tmp_path, capsys):
    options, says = REQUESTS[case]
    words = [option.format(**places) for option in options]
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    out = [] if '--out' in words or case == 'no folder' else ['--out', str(tmp_path / 'out')]
    try:
        code = main(['export', *words, *out])
    except SystemExit as left:  # argparse's own
        code = left.code
    printed = capsys.readouterr().err
    assert code == 2
    assert says in printed
    assert 'Traceback' not in printed
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before
