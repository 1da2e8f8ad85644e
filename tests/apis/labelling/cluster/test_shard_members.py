"""What is damaged loses no more than it has to, and says so; what does not answer is told from it."""

import errno
import gzip
import io

import pyarrow.parquet as pq
import pytest
from drawn_shards import archive, pictures, table

from denseclip.apis.images import UnreadableImageError
from denseclip.apis.labelling.cluster.members import Member, MissingError, NotFetchedError, members
from denseclip.apis.labelling.cluster.sources import Piece, find_source


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """Bytes of five pictures."""
    drawn = pictures(tmp_path_factory.mktemp('shots'), 5)
    return {f'{place}.png': data for place, data in enumerate(drawn.values())}


def test_dots_in_names_of_a_tar(content, tmp_path):
    """Every picture is there under a name of its own; a sample's mask beside its picture is none."""
    data = next(iter(content.values()))
    names = ['plain.png', 'IMG.0001.png', 'IMG.0002.png', 'scan 2021.05.01.png', 'J. Smith.png', 'J. Doe.png']
    names += ['a.jpg', 'a.seg.png', 'b.seg.png', 'b.png', 'v1.2-final.png', 'c.json']
    archive(tmp_path / 'x.tar', dict.fromkeys(names, data))
    source = find_source([str(tmp_path / 'x.tar')])
    found = list(members(source, [Piece(0, 'x.tar')]))
    wanted = ['plain', 'IMG.0001', 'IMG.0002', 'scan 2021.05.01', 'J. Smith', 'J. Doe', 'a', 'b', 'v1.2-final']
    assert titles(found) == wanted and all(member.content() == data for member in found)
    masks = find_source([str(tmp_path / 'x.tar')], 'seg.png')
    assert titles(members(masks, [Piece(0, 'x.tar')])) == ['a', 'b']


def damage_page(path, group):
    """Overwrite the page of pictures in a row group; the footer stays."""
    column = pq.read_metadata(path).row_group(group).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset + 40
    end = column.data_page_offset + column.total_compressed_size
    data[start:end] = b'\xff' * (end - start)
    path.write_bytes(data)


def titles(found):
    return [member.key for member in found]


def rests(found):
    """Members that stand for what cannot be read."""
    broken = [member for member in found if not member.key]
    for member in broken:
        with pytest.raises(UnreadableImageError, match='cannot be read on: '):
            member.picture()
    for member in found:
        if member.key:
            member.picture()
    return [member.file for member in broken]


def test_the_files_behind_a_damaged_table_are_read(content, tmp_path):
    """One has a page that cannot be unpacked, one a footer that was wiped out."""
    for name in 'abcd':
        table(tmp_path / f'{name}.parquet', content, group=2)
    damage_page(tmp_path / 'b.parquet', 1)
    (tmp_path / 'c.parquet').write_bytes(b'PAR1 and nothing else')
    source = find_source([str(tmp_path / '*.parquet')])
    found = list(members(source, [Piece(0, f'{name}.parquet', 0, 5) for name in 'abcd']))
    whole = [f'{place}.png' for place in range(5)]
    assert titles(found) == [*whole, *whole[:2], '', '', *whole]
    assert rests(found) == ['b.parquet', 'c.parquet']


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
def test_a_tar_that_is_cut_anywhere_says_so(content, tmp_path, pack):
    """In a header or its bytes, before one, or between the last member and the end; and one with another behind it."""
    path = tmp_path / ('a.tar' if pack is bytes else 'a.tar.gz')
    archive(path, content)
    data, starts, here = path.read_bytes(), [], 0
    for some in content.values():
        starts.append(here)
        here += 512 + -(-len(some) // 512) * 512
    source = find_source([str(path)])

    def read(some):
        path.write_bytes(pack(some))
        found = list(members(source, [Piece(0, path.name)]))
        return [key for key in titles(found) if key], rests(found)

    keys = [name[:-4] for name in content]
    bad = bytearray(data)
    bad[starts[2] + 148] ^= 1  # a digit of the header's check sum
    assert read(data) == (keys, [])
    assert read(data[: here + 512]) == (keys, [])  # one block of zeros is enough of an end
    assert read(data[:here]) == (keys, [path.name])
    assert read(data[: starts[2]]) == (keys[:2], [path.name])
    assert read(data[: starts[2] + 100])[1] == read(data[: starts[2] + 600])[1] == [path.name]
    assert read(bytes(bad))[1] == read(data + data)[1] == read(b'')[1] == [path.name]
    wiped = data[: starts[3]] + bytes(512) + data[starts[3] + 512 :]
    assert read(wiped) == (keys[:3], [path.name])


class ClientError(Exception):
    """As botocore and gcsfs have them."""


@pytest.mark.parametrize(
    ('error', 'kind'),
    [
        (ClientError('SlowDown'), NotFetchedError),
        (TimeoutError(), NotFetchedError),
        (OSError(errno.EIO, 'Input/output error'), NotFetchedError),
        (OSError(errno.ESTALE, 'Stale file handle'), NotFetchedError),
        (FileNotFoundError(errno.ENOENT, 'gone'), MissingError),
        (PermissionError(errno.EACCES, 'no'), MissingError),
        (OSError(errno.ELOOP, 'links'), UnreadableImageError),
    ],
)
def test_what_kept_the_bytes_away(content, tmp_path, monkeypatch, error, kind):
    """In a store, and in a local file, which is read at the same place."""

    def fail(*_):
        raise error

    with pytest.raises(UnreadableImageError) as found:
        Member('a', 'a', fail).picture()
    assert type(found.value) is kind
    (tmp_path / 'a.png').write_bytes(content['0.png'])
    member = Member('a', 'a', lambda: tmp_path / 'a.png')
    assert member.picture().rgb.size
    monkeypatch.setattr('pathlib.Path.read_bytes', fail)
    with pytest.raises(UnreadableImageError) as found:
        member.picture()
    assert type(found.value) is kind and '\n' not in str(found.value)


def test_a_table_on_a_disk_that_fails_is_not_damaged(content, tmp_path, monkeypatch):
    table(tmp_path / 'a.parquet', content)
    source = find_source([str(tmp_path / 'a.parquet')])

    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, 'Input/output error')

    whole = (tmp_path / 'a.parquet').read_bytes()
    monkeypatch.setattr('fsspec.implementations.local.LocalFileSystem.open', lambda *_, **__: Failing(whole))
    with pytest.raises(OSError, match='Input/output'):
        list(members(source, [Piece(0, 'a.parquet', 0, 5)]))
