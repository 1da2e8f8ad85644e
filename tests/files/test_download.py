"""A download is whole, checked and resumed, whatever the server does; nothing but a local one is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server, serving

from denseclip.files.atomic import partial_name
from denseclip.files.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as state:
        yield state


def test_whole_and_checked(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / 'deep' / 'w.pth'
    found = fetch(server.url, target, sha256=SUM.upper(), progress=lambda *at: seen.append(at))
    assert target.read_bytes() == CONTENT
    assert (found.sha256, found.checked, found.resumed, found.size) == (SUM, True, 0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and [p.name for p in target.parent.iterdir()] == ['w.pth']


@pytest.mark.parametrize('known', ['sha256', 'etag'])
def test_goes_on_where_it_stopped(server: Server, tmp_path: Path, known: str) -> None:
    target, sha256 = tmp_path / 'w.pth', SUM if known == 'sha256' else None
    server.etag = '"one"' if known == 'etag' else None
    server.stop_after = 300_000
    with pytest.raises(DownloadError, match='broke after .* of 1048576 bytes: start the same command again'):
        fetch(server.url, target, sha256=sha256)
    assert not target.exists()
    found = fetch(server.url, target, sha256=sha256)
    assert target.read_bytes() == CONTENT and 0 < found.resumed <= 300_000
    assert server.asked == [None, f'bytes={found.resumed}-']
    assert [path.name for path in tmp_path.iterdir()] == ['w.pth']


def test_another_file_is_never_joined_to_the_old_half(server: Server, tmp_path: Path) -> None:
    """The server's file changes between two tries: with its mark it sends all, without one we ask for all."""
    for etag in ('"one"', None):
        target = tmp_path / f'w{etag is None}.pth'
        server.content, server.etag, server.stop_after = CONTENT, etag, 200_000
        with pytest.raises(DownloadError):
            fetch(server.url, target)
        server.content, server.etag = CONTENT[::-1], '"two"' if etag else None
        assert fetch(server.url, target).resumed == 0
        assert target.read_bytes() == CONTENT[::-1]


def test_a_server_without_parts_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.stop_after = False, 100_000
    with pytest.raises(DownloadError):
        fetch(server.url, tmp_path / 'w', sha256=SUM)
    assert fetch(server.url, tmp_path / 'w', sha256=SUM).resumed == 0
    assert (tmp_path / 'w').read_bytes() == CONTENT


def test_a_whole_half_is_enough(server: Server, tmp_path: Path) -> None:
    """Killed between the last byte and the renaming."""
    (tmp_path / partial_name('w')).write_bytes(CONTENT)
    assert fetch(server.url, tmp_path / 'w', sha256=SUM).resumed == len(CONTENT)


def test_the_wrong_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / 'w').write_bytes(b'older')
    with pytest.raises(DownloadError, match=f'not the expected file: its sha256 is {SUM}, not {"0" * 64}'):
        fetch(server.url, tmp_path / 'w', sha256='0' * 64)
    assert (tmp_path / 'w').read_bytes() == b'older' and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_fetched_says_why(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match='an address begins with'):
        fetch('ftp://host/file', tmp_path / 'w')
    with pytest.raises(DownloadError, match='cannot be fetched .*check the network'):
        fetch('http://127.0.0.1:1/w', tmp_path / 'w')
    with pytest.raises(DownloadError, match='gone'):
        fetch((tmp_path / 'gone').as_uri(), tmp_path / 'w')
    with pytest.raises(IsADirectoryError, match='is a folder'):
        fetch(server.url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_address(tmp_path: Path) -> None:
    (tmp_path / 'source').write_bytes(CONTENT)
    assert fetch((tmp_path / 'source').as_uri(), tmp_path / 'w').sha256 == SUM
    assert (tmp_path / 'w').read_bytes() == CONTENT
