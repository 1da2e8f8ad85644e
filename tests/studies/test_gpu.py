"""The script for a stranger's GPU, on the CPU: every row is measured, and equal to eager float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from denseclip.files.shipped import config_file
from studies.gpu.__main__ import FULL, OVERRIDES, SMALL, SMALL_STEPS, main


def rows(text: str) -> list[list[str]]:
    return [line.strip('|').split('|') for line in text.splitlines() if line.startswith('|')][2:]


def test_one_command_gives_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'table.md'
    command = ['--device', 'cpu', '--small', '--backend', 'eager', '--repeats', '1', '--only', 'MaskCLIP']
    assert main([*command, '--out', str(out)]) == 0
    (row,) = rows(capsys.readouterr().out)
    assert len(row) == 7 and float(row[5]) > 0.9 and min(map(float, row[1:5])) > 0
    assert rows(out.read_text()) == [row]


def test_no_model_is_begun_after_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--device', 'cpu', '--small', '--backend', 'none', '--minutes', '-1']) == 0
    assert f'{len(SMALL) + len(SMALL_STEPS)} left out for time' in capsys.readouterr().out


def test_a_failure_is_a_row_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--device', 'cpu', '--small', '--backend', 'nonsense', '--only', 'MaskCLIP']) == 1
    assert "failed: OptionError: --compile backend 'nonsense' is unknown" in capsys.readouterr().out


def test_models_that_share_a_config_differ() -> None:
    for models in (FULL, SMALL):
        words = [name.split()[0] for name in models]
        shared = [
            word for word, file in zip(words, models.values(), strict=True) if list(models.values()).count(file) > 1
        ]
        assert len({str(OVERRIDES.get(word)) for word in shared}) == len(shared) > 1


@pytest.mark.parametrize('config', [*FULL.values(), *SMALL.values()])
def test_its_configs_come_with_the_package(config: str) -> None:
    assert config_file(config).is_file()
