"""Results of pictures get names that differ, as short as they can be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denseclip.files.stems import output_stems


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
