"""What a user names becomes a list of pictures with distinct names for their results."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.apis.errors import UserError
from denseclip.apis.inputs import expand_inputs, image_suffixes, output_stems


@pytest.fixture
def folder(tmp_path):
    for name in ('b.jpg', 'a.PNG', 'notes.txt', 'deep/c.webp'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_folder_stands_for_its_pictures(folder):
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


@pytest.mark.parametrize(
    ('paths', 'stems'),
    [
        (['a.jpg', 'd/b.jpg'], ['a', 'b']),
        (['d/car.jpg', 'd/car.png', 'd/x.png'], ['car_jpg', 'car_png', 'x']),
        (['left/car.jpg', 'right/car.jpg'], ['left_car', 'right_car']),
        (['left/car.jpg', 'right/CAR.jpg'], ['left_car', 'right_CAR']),
        (['nut/good/0.png', 'pill/good/0.png', 'pill/bad/0.png'], ['nut_good_0', 'pill_good_0', 'pill_bad_0']),
        (['l/0.png', 'l/0.jpg', 'r/0.png'], ['l_0_png', 'l_0_jpg', 'r_0_png']),
    ],
)
def test_stems(paths, stems):
    assert output_stems([Path(p) for p in paths]) == stems


names = st.sampled_from(['a', 'A', 'b', 'a_jpg', 'd_a', 'a_2'])


@given(
    st.lists(
        st.builds(
            lambda d, e, n, s: Path(d) / e / f'{n}{s}', names, names, names, st.sampled_from(['.jpg', '.png', ''])
        ),
        unique=True,
    )
)
def test_stems_are_distinct_even_where_case_does_not_count(paths):
    stems = output_stems(paths)
    assert len({s.casefold() for s in stems}) == len(paths) == len(stems)
