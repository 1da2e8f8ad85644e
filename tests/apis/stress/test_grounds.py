"""Objects on other grounds: which pixels count."""

from types import SimpleNamespace

import numpy as np
import pytest

from denseclip.apis.stress import grounds
from denseclip.apis.stress.grounds import Swap, swapped_grounds
from denseclip.apis.stress.pictures import VOID
from denseclip.datasets.pasted_objects import CutOut, Pasted


def test_ignored_pixels_are_not_wrong(monkeypatch):
    labels = np.full((8, 8), VOID)
    labels[2:4, 2:4] = 0
    thing = CutOut(0, np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool), 1)
    one = Pasted(np.zeros((8, 8, 3), np.uint8), labels, 0, labels == 0, (slice(0, 8), slice(0, 8)))
    monkeypatch.setattr(grounds, 'objects_and_grounds', lambda *args: ([0], [1, 2]))
    monkeypatch.setattr(grounds, 'swaps_of', lambda *args: [Swap(0, thing, (1, 2))])
    monkeypatch.setattr(grounds, 'pasted', lambda *args: one)
    everywhere = SimpleNamespace(label_map=np.zeros((8, 8), np.uint8))
    monkeypatch.setattr(grounds, 'look', lambda _, pictures, *__, **___: ((p, everywhere) for p in pictures))
    subject = SimpleNamespace(model=None, pictures=SimpleNamespace(names=('car', 'road', 'sky')))
    assert swapped_grounds(subject, None, 0)['usual'] == pytest.approx(100)
