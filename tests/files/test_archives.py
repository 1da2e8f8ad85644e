"""A changed byte of a zip archive is found, wherever it is."""

import zipfile

import numpy as np
import pytest

from denseclip.files.archives import DamagedArchiveError, require_whole

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def packed(path, compression):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('empty', b'')
        archive.writestr('folder/numbers', np.random.default_rng(0).bytes(300))
    return path


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_every_byte_of_the_content_counts(tmp_path, compression):
    whole = packed(tmp_path / 'whole.zip', compression)
    require_whole(whole)
    content = whole.read_bytes()
    with zipfile.ZipFile(whole) as archive:
        member = archive.getinfo('folder/numbers')
    begin = member.header_offset + 30 + len(member.filename)
    for place in range(begin, begin + member.compress_size):
        damaged = tmp_path / 'damaged.zip'
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with zipfile.ZipFile(damaged) as archive:  # formats with a tail of their own do not use every bit of it
            try:
                same = archive.read('folder/numbers') == np.random.default_rng(0).bytes(300)
            except Exception:
                same = False
        if not same:
            with pytest.raises(DamagedArchiveError):
                require_whole(damaged)


@pytest.mark.parametrize('kept', [0.2, 0.7, 0.99])
def test_an_archive_that_was_cut(tmp_path, kept):
    path = packed(tmp_path / 'cut.zip', zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DamagedArchiveError):
        require_whole(path)


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(b'\x08\0\0\0\0\0\0\0{}      ')
    require_whole(path)
