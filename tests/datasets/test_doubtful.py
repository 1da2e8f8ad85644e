"""Pixels that a teacher is not sure of lose their labels, and nothing else changes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.transforms import IgnoreDoubtful


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(least=st.floats(0, 1), seed=st.integers(0, 1000))
def test_sure_pixels_keep_their_labels(tmp_path, least, seed):
    rng = np.random.default_rng(seed)
    sure = rng.integers(0, 256, (9, 7), np.uint8)
    labels = rng.integers(0, 5, (9, 7)).astype(np.int64)
    place = tmp_path / 'confidences/in/a.png'
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sure).save(place)
    step = IgnoreDoubtful(str(tmp_path / 'masks'), str(tmp_path / 'confidences'), least)
    found = step({'gt_seg_map': labels, 'seg_map_path': str(tmp_path / 'masks/in/a.png')})['gt_seg_map']
    doubtful = sure < round(255 * least)
    assert found.dtype == labels.dtype and (found[doubtful] == 255).all()
    np.testing.assert_array_equal(found[~doubtful], labels[~doubtful])


def test_what_does_not_fit_is_named(tmp_path):
    (tmp_path / 'confidences').mkdir()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / 'confidences/a.png')
    step = IgnoreDoubtful(str(tmp_path / 'masks'), str(tmp_path / 'confidences'), 0.5)
    labels = np.zeros((4, 4), np.int64)
    for name, said in (('masks/a.png', 'size'), ('masks/b.png', 'b.png'), ('elsewhere/a.png', 'does not lie in')):
        with pytest.raises(UnreadableFileError, match=said):
            step({'gt_seg_map': labels, 'seg_map_path': str(tmp_path / name)})
    with pytest.raises(ValueError, match='between 0 and 1'):
        IgnoreDoubtful('a', 'b', 2.0)
