"""The harness of the faults: it strikes where it says, and sees what is lost. Its rows run by ``make chaos``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import leftovers
from harness import Command, Fault, Undisturbed, disturb, undisturbed
from injection import remount
from rows import FULL, KILL, TERM, spoil

NAMES = [f'{number}.txt' for number in range(6)]


@pytest.fixture
def careful(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The command in these tests: it writes six files, each whole or not at all while the list holds True."""
    is_careful = [True]

    def write(line: list[str]) -> int:
        from denseclip.files.atomic import write_text
        from denseclip.files.scratch import exit_on_signals

        out = Path(line[0])
        with exit_on_signals():
            try:
                out.mkdir(exist_ok=True)
                for name in NAMES:
                    if is_careful[0]:
                        write_text(out / name, name * 500)
                    elif not (out / name).exists():
                        with (out / name).open('w') as file:
                            file.write(name * 250)
                            file.flush()
                            (out / f'{name}.log').touch()  # a write in the middle of another
                            file.write(name * 250)
            except OSError as error:
                print(f'denseclip: error: {error.strerror}', file=sys.stderr)
                return 2
        return 0

    def main(line: list[str]) -> int:
        try:
            return write(line)
        except SystemExit as end:
            return int(end.code)

    monkeypatch.setattr(harness, '_main', main)
    return is_careful


COMMAND = Command('six files', ('{out}',), megabytes=1)


@pytest.fixture
def calm(careful: list[bool], tmp_path: Path) -> Undisturbed:
    (tmp_path / 'world').mkdir()
    return undisturbed(COMMAND, tmp_path / 'calm', tmp_path / 'world')


@pytest.mark.parametrize('fault', [KILL, TERM], ids=lambda fault: fault.name)
def test_a_careful_command_passes(calm: Undisturbed, tmp_path: Path, fault: Fault) -> None:
    assert calm.writes >= 2 * len(NAMES) and set(calm.digests) == set(NAMES)
    for seed in range(2):
        row = disturb(COMMAND, fault, calm, tmp_path / 'row', seed=seed)
        assert row.good, row
        assert row.ended == ('SIGKILL' if fault is KILL else '143') and row.when.startswith('write ')


def test_a_careless_command_is_found_out(calm: Undisturbed, careful: list[bool], tmp_path: Path) -> None:
    """Half a file that the second start takes for a whole one, what nobody wants, an end that was not meant."""
    careful[0] = False
    rows = [disturb(COMMAND, KILL, calm, tmp_path / 'row', seed=seed) for seed in range(3)]
    assert any('differs: ' in text for row in rows for text in row.complaints), rows
    assert any('too much: ' in text for row in rows for text in row.complaints)
    ended = harness.Ended(2, 0.1, '', 'Traceback (most recent call last):\nOSError', 0)
    assert [text.split(':')[0] for text in harness.spoken(ended, (0,))] == [
        'exit code 2, not 0',
        'a traceback',
        'no sentence that says why',
    ]


def test_a_disk_fills_and_turns_read_only(calm: Undisturbed, tmp_path: Path) -> None:
    """With the kernel's own errors where a disk may be mounted; elsewhere the row says that it was not run."""
    row = disturb(COMMAND, FULL, calm, tmp_path / 'row')
    assert row.good, row
    disk = tmp_path / 'disk'
    with harness.mounted(disk, 1) as is_mounted:
        assert row.ended.startswith('2: No space left' if is_mounted else 'not run')
        if is_mounted:
            assert remount(disk, read_only=True)
            with pytest.raises(OSError, match='Read-only'):
                (disk / 'more').write_text('y')


def test_broken_files_are_seen(tmp_path: Path) -> None:
    for name, content in {'a.json': '{"a": 1', 'a.png': 'PNG', 'a.pth': 'PK', 'a.safetensors': '12345678{}'}.items():
        (tmp_path / name).write_text(content)
        assert leftovers.broken(tmp_path / name), name
    assert spoil(tmp_path) == 4 and not (tmp_path / 'a.pth').read_bytes()
