"""Members of a tar that is whole; where it is not, those before the damage and an error."""

import gzip
import io
import tarfile

import pytest

from denseclip.files.tars import BadEndError, open_tar, tar_members

NAMES = ['a.txt', 'b.txt', 'x' * 150 + '.txt']  # the last one has a header of its own for its name


@pytest.fixture(scope='module')
def whole():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for name in NAMES:
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(b'z' * 700))
    return out.getvalue()


def read(data, mode):
    found = []
    try:
        with open_tar(io.BytesIO(data), mode) as archive:
            found.extend(member.name for member in tar_members(archive))
    except tarfile.ReadError as error:
        return found, type(error)
    return found, None


@pytest.mark.parametrize('mode', ['r|*', 'r:'])
def test_no_prefix_of_a_tar_passes_for_one(whole, mode):
    end = len(whole.rstrip(b'\0'))
    end += -end % 512
    assert read(whole, mode) == read(whole[: end + 512], mode) == (NAMES, None)
    assert read(whole[:end], mode) == (NAMES, BadEndError)
    kinds = {read(whole[:size], mode)[1] for size in range(0, end, 100)}
    assert None not in kinds
    for size in range(0, end, 512):
        assert read(whole[:size], mode)[0] == NAMES[: len(read(whole[:size], mode)[0])]


@pytest.mark.parametrize('mode', ['r|*', 'r:'])
def test_damage_within(whole, mode):
    place = whole.index(b'b.txt')
    changed = whole[:place] + b'c' + whole[place + 1 :]
    wiped = whole[:place] + bytes(512) + whole[place + 512 :]
    assert read(changed, mode) == (['a.txt'], tarfile.ReadError)
    assert read(wiped, mode) == (['a.txt'], BadEndError)
    assert read(whole + whole, mode) == (NAMES, BadEndError)


def test_packed_ones_are_read_from_front_to_back(whole):
    assert read(gzip.compress(whole), 'r|*') == (NAMES, None)
    assert read(gzip.compress(whole), 'r:') == ([], tarfile.ReadError)
