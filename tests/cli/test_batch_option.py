"""``--batch-size`` of the commands that look at pictures: the same files, lines and failures, in the same order."""

import json

import pytest
from drawn_teacher import DrawnTeacher, draw_picture

from denseclip.cli import segment
from denseclip.cli.main import main


@pytest.fixture
def shots(tmp_path):
    for place in range(9):
        draw_picture(tmp_path / f'shots/{place}.png', place, (20 + place % 2, 30))
    (tmp_path / 'shots/4.png').write_bytes(b'no picture')
    return tmp_path / 'shots'


def segmented(shots, out, capsys, *options):
    code = main(['segment', str(shots), '--classes', 'road; sky', '--out', str(out), '--json', *options])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        line.pop('files', None)
    return code, lines, {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize('size', ['2', '16', 'auto'])
def test_results_do_not_hang_on_it(shots, tmp_path, capsys, monkeypatch, size):
    made = []

    def load(args, name, vocabulary):
        made.append(DrawnTeacher(vocabulary))
        return made[-1]

    monkeypatch.setattr(segment, 'load_segmentor', load)
    one = segmented(shots, tmp_path / 'one', capsys)
    many = segmented(shots, tmp_path / 'many', capsys, '--batch-size', size)
    assert one == many and one[0] == 2 and len(one[2]) == 3 * 8
    assert [line['source'] for line in one[1]] == [str(shots / f'{k}.png') for k in range(9)]
    assert 'error' in one[1][4]
    assert set(made[0].runs) == {1} and max(made[1].runs) > 1


@pytest.mark.parametrize('size', ['0', 'many', '-3'])
def test_a_size_that_is_none_is_refused(shots, tmp_path, capsys, size):
    with pytest.raises(SystemExit):
        main(['segment', str(shots), '--classes', 'road; sky', '--out', str(tmp_path), '--batch-size', size])
    assert 'whole number of at least 1, or auto' in capsys.readouterr().err
