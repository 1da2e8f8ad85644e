"""The launcher of tests on several processes hands on what it is given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'dist_test.sh'


@pytest.mark.parametrize(
    ('checkpoint', 'handed_on'),
    [
        ('best.pth', ['c.py', 'best.pth', '--tta', '--launcher', 'pytorch']),
        ('-', ['c.py', '--tta', '--launcher', 'pytorch']),
    ],
)
def test_a_model_may_have_no_checkpoint(checkpoint: str, handed_on: list[str], tmp_path: Path) -> None:
    torchrun = tmp_path / 'torchrun'
    torchrun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    torchrun.chmod(0o755)
    done = subprocess.run(
        ['bash', str(SCRIPT), 'c.py', checkpoint, '2', '--tta'],
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert '--nproc_per_node=2' in words and words[-len(handed_on) :] == handed_on
    assert words[-len(handed_on) - 1].endswith('test.py')
