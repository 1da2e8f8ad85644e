"""One walk through folders and one list of endings, for all who look for pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from denseclip.files.pictures import (
    LABEL_SUFFIXES,
    PICTURE_SUFFIXES,
    files_of,
    globbed,
    image_suffixes,
    left_out,
    walk,
)


def put(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names_of(root: Path, deep: bool = True) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_of(root, PICTURE_SUFFIXES, deep=deep)]


def test_endings_are_of_pictures_that_pillow_opens_by_itself():
    assert {*PICTURE_SUFFIXES, *LABEL_SUFFIXES, '.gif'} <= image_suffixes()
    assert not {'.eps', '.ps', '.mpg', '.h5', '.hdf', '.grib', '.pdf'} & image_suffixes()


def test_what_systems_and_tools_strew_is_no_data(tmp_path):
    put(
        tmp_path,
        'a.jpg',
        '._a.jpg',
        '.cache/b.jpg',
        '__MACOSX/._a.jpg',
        '__MACOSX/c.jpg',
        'in/.ipynb_checkpoints/d.png',
    )
    put(tmp_path, 'in/e.JFIF', 'in/deep/f.png', 'in/notes.txt', 'folder.png/g.bmp')
    assert names_of(tmp_path) == ['a.jpg', 'folder.png/g.bmp', 'in/deep/f.png', 'in/e.JFIF']
    assert names_of(tmp_path, deep=False) == ['a.jpg']
    assert [p.name for p in globbed(tmp_path, '*.jpg', '*/*.jpg', 'a.*')] == ['a.jpg']
    assert names_of(tmp_path / '.cache') == ['b.jpg']  # asked for by its name


def test_links_are_followed_but_not_round_in_circles(tmp_path):
    root = put(tmp_path / 'root', 'a.png', 'in/b.png')
    other = put(tmp_path / 'other', 'c.png')
    (root / 'linked').symlink_to(other)
    (root / 'again').symlink_to(root / 'in')
    (root / 'in' / 'up').symlink_to(root)
    (root / 'in' / 'higher').symlink_to(tmp_path)
    (other / 'back').symlink_to(root)
    assert names_of(root) == ['a.png', 'again/b.png', 'in/b.png', 'linked/c.png']
    assert sum(len(names) for _, _, names in walk(tmp_path / 'root' / 'linked')) == 4  # c.png, and those of root again


def test_links_to_nothing_are_kept_so_that_reading_names_them(tmp_path):
    (tmp_path / 'gone.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    assert names_of(tmp_path) == ['gone.jpg']


@pytest.mark.parametrize(('deep', 'heic'), [(True, 3), (False, 1)])
def test_pictures_of_other_kinds_are_counted(tmp_path, deep, heic):
    put(tmp_path, 'a.jpg', 'b.HEIC', 'x/c.heic', 'x/d.heic', 'e.dng', 'f.txt', '.g.heic')
    line = left_out(tmp_path, deep=deep)
    assert line.startswith(f'{heic + 1} pictures in {tmp_path} are left out') and f'.heic ({heic})' in line
    assert '.dng (1)' in line and '.txt' not in line
    assert left_out(put(tmp_path / 'clean', 'a.jpg', 'b.txt')) == ''
    assert '.gif (1)' in left_out(put(tmp_path / 'drawn', 'a.gif'), PICTURE_SUFFIXES)
    assert left_out(tmp_path / 'drawn') == ''
