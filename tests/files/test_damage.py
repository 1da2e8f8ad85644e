"""Damaged contents are told from disks and stores that do not answer."""

import errno
import tarfile

import pyarrow as pa
import pytest

from denseclip.files.damage import is_damage, naming


class ClientError(Exception):
    """As botocore and gcsfs have them."""


@pytest.mark.parametrize('error', [tarfile.ReadError('cut'), EOFError(), pa.ArrowInvalid('no'), OSError('page')])
def test_what_no_second_try_mends(error):
    assert is_damage(error)


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.EIO, 'disk'),
        OSError(errno.ENOSPC, 'full'),
        FileNotFoundError('gone'),
        TimeoutError('late'),
        pa.ArrowMemoryError('much'),
        ClientError('503'),
    ],
)
def test_what_is_not_the_files_fault(error):
    assert not is_damage(error)


def test_errors_of_a_disk_name_the_file(tmp_path):
    with pytest.raises(OSError, match=r'a\.tar'), naming(tmp_path / 'a.tar'):
        raise OSError(errno.EIO, 'disk')
    with pytest.raises(OSError, match=r'^\[Errno 2\].*b\.tar') as found, naming(tmp_path / 'a.tar'):
        (tmp_path / 'b.tar').read_bytes()
    assert 'a.tar' not in str(found.value)
    with pytest.raises(OSError, match='^page$'), naming(tmp_path / 'a.tar'):
        raise OSError('page')
