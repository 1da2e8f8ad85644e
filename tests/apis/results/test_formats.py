"""Files of results hold what was drawn, whatever packs them."""

from __future__ import annotations

import io
import sys

import cv2  # noqa: F401
import numpy as np
import pytest
from PIL import Image

from denseclip.apis.results.formats import _png


@pytest.mark.parametrize('loaded', [True, False])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L'])
def test_pictures_survive_with_and_without_opencv(loaded: bool, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not loaded:
        monkeypatch.delitem(sys.modules, 'cv2')
    shape = (31, 47, len(mode)) if len(mode) > 1 else (31, 47)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(_png(Image.fromarray(pixels)))) as found:
        assert found.mode == mode
        assert np.array_equal(np.asarray(found), pixels)
