"""The command line of the comparison of mask models."""

import runpy
from pathlib import Path

import pytest

from studies.mask_study import VARIANTS

MAIN = runpy.run_path(str(Path(__file__).parents[2] / 'tools' / 'compare_mask_models.py'))['main']


def test_list_shows_all_variants(capsys: pytest.CaptureFixture) -> None:
    MAIN(['--list'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(VARIANTS)


def test_wrong_names_give_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no variant or group is called 'deeplab'"):
        MAIN(['--variants', 'deeplab', '--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'out')])


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'letter.txt').write_text('dear', encoding='utf-8')
    with pytest.raises(SystemExit, match='other files'):
        MAIN(['--data', str(tmp_path), '--out', str(tmp_path / 'out')])
