"""CheckLabelRange: silent on good maps, precise on bad ones."""

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from denseclip.datasets import CheckLabelRange, LabelRangeError


def results(labels: list[list[int]], **extra: object) -> dict:
    return dict(gt_seg_map=np.array(labels, dtype=np.uint8), seg_map_path='data/a.png', **extra)


def test_good_maps_pass_unchanged() -> None:
    check = TRANSFORMS.build(dict(type='CheckLabelRange', num_classes=3))
    given = results([[0, 2], [255, 1]])
    assert check(given) is given


def test_map_of_ignored_pixels_passes() -> None:
    assert CheckLabelRange(1)(results([[255, 255]]))


@pytest.mark.parametrize('reduced', [False, True])
def test_error_names_file_ids_as_stored_and_share(reduced: bool) -> None:
    with pytest.raises(LabelRangeError) as caught:
        CheckLabelRange(3)(results([[0, 7], [9, 1]], reduce_zero_label=reduced))
    message = str(caught.value)
    assert 'data/a.png' in message and '50.00 %' in message
    assert ('[8, 10]' if reduced else '[7, 9]') in message
    assert 'denseclip check CONFIG' in message


def test_shift_by_one_is_suggested_only_without_reduction() -> None:
    with pytest.raises(LabelRangeError, match='reduce_zero_label=True'):
        CheckLabelRange(3)(results([[0, 3]]))
    with pytest.raises(LabelRangeError) as caught:
        CheckLabelRange(3)(results([[0, 3]], reduce_zero_label=True))
    assert 'reduce_zero_label=True' not in str(caught.value)


def test_error_names_ids_as_they_stand_in_files_whose_ids_are_mapped() -> None:
    results = dict(
        gt_seg_map=np.array([[0, 254]], np.uint8), seg_map_path='a.png', label_map={0: 254, 1: 254, 7: 0, 8: 1}
    )
    with pytest.raises(LabelRangeError, match=r'label ids \[0, 1\] are out of range'):
        CheckLabelRange(num_classes=2).transform(results)


def test_other_ignore_index() -> None:
    CheckLabelRange(3, ignore_index=200)(results([[0, 200]]))
    with pytest.raises(LabelRangeError):
        CheckLabelRange(3, ignore_index=200)(results([[0, 255]]))


def test_refuses_no_classes() -> None:
    with pytest.raises(ValueError, match='num_classes'):
        CheckLabelRange(0)
