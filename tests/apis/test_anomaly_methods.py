"""Which way of finding defects suits what there is, and who tells the threshold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.anomaly_methods import choose_method, split_good


@pytest.mark.parametrize(
    ('good', 'pictures', 'named', 'method'),
    [(1, 1, False, 'references'), (0, 5, True, 'batch'), (0, 4, True, 'anovl'), (0, 4, False, 'batch')],
)
def test_auto_takes_the_best_that_there_is(good, pictures, named, method):
    choice = choose_method('auto', good, pictures, named)
    assert choice.method == method and choice.why in str(choice)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 2000))
def test_good_pictures_are_references_or_judges(count):
    good = [Path(f'{number}.png') for number in range(count)]
    references, judges = split_good(good)
    assert 1 <= len(references) <= 256 and set(references) | set(judges) <= set(good)
    if count <= 16:
        assert references == good and (judges == good or count == 1)
    else:
        assert not set(references) & set(judges) and len(judges) >= count // 2
    references, judges = split_good(good, few=1)
    assert len(set(references) | set(judges)) == len(references) + len(judges) == count


@given(st.lists(st.floats(0.125, 5), min_size=2, max_size=20))
def test_the_threshold_of_few_good_pictures_flags_none_of_them(scores):
    calibration = Calibration.of_good(scores)
    assert (calibration(np.array(scores)) <= 0.5 + 1e-9).all()
    assert calibration(max(scores) + 10 * (max(scores) - min(scores)) + 0.1) > 0.5


def test_the_threshold_of_many_good_pictures_lets_an_outlier_go():
    scores = [*np.random.default_rng(0).normal(1, 0.1, 200), 9.0]
    calibration = Calibration.of_good(scores)
    flagged = int((calibration(np.array(scores)) >= 0.5).sum())
    assert 1 <= flagged <= 5 and 1.2 < calibration.limit < 1.6
    with pytest.raises(ValueError, match='two are the least'):
        Calibration.of_good([1.0])
