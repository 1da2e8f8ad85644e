"""What commands say beside their results."""

from pathlib import Path

from denseclip.cli.talk import note_left_out


def test_pictures_of_kinds_that_are_not_read_are_counted(tmp_path: Path, capsys) -> None:
    for name in ('a.jpg', 'b.HEIC', 'in/c.heic', 'in/d.dng'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    note_left_out([str(tmp_path), str(tmp_path / 'a.jpg'), f'{tmp_path}/*.jpg'])
    assert capsys.readouterr().out.startswith(f'note: 1 pictures in {tmp_path} are left out')
    note_left_out([str(tmp_path)], deep=True)
    said = capsys.readouterr().out
    assert '.heic (2), .dng (1)' in said and said.count('\n') == 1
    note_left_out([str(tmp_path / 'a.jpg')])
    assert capsys.readouterr().out == ''
