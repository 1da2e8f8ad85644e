"""What a user names becomes a list of pictures."""

import pytest

from denseclip.apis.errors import UserError
from denseclip.apis.inputs import expand_inputs, image_suffixes


@pytest.fixture
def folder(tmp_path):
    for name in ('b.jpg', 'a.PNG', 'notes.txt', 'deep/c.webp'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_folder_stands_for_its_pictures(folder):
    for name in ('._a.PNG', '.hidden.jpg', 'painting.eps'):
        (folder / name).touch()
    assert [p.name for p in expand_inputs([folder])] == ['a.PNG', 'b.jpg']


def test_patterns(folder):
    assert [p.name for p in expand_inputs([f'{folder}/*.jpg'])] == ['b.jpg']
    assert [p.name for p in expand_inputs([f'{folder}/**/*.[wj]*'])] == ['b.jpg', 'c.webp']


def test_names_with_pattern_characters_and_missing_files_are_kept(folder):
    odd = folder / 'x[1].jpg'
    odd.touch()
    missing = folder / 'missing.jpg'
    assert expand_inputs([str(odd), missing, odd]) == [odd, missing]


def test_nothing_found_is_said(folder):
    with pytest.raises(UserError, match='holds no pictures'):
        (folder / 'empty').mkdir()
        expand_inputs([folder / 'empty'])
    with pytest.raises(UserError, match='no file matches .*gif'):
        expand_inputs([f'{folder}/*.gif'])
    with pytest.raises(UserError, match='no picture was named'):
        expand_inputs([])


def test_suffixes_are_of_formats_that_can_be_opened():
    assert {'.jpg', '.jpeg', '.png', '.webp', '.tif', '.bmp'} <= image_suffixes()
    assert '.pdf' not in image_suffixes()
