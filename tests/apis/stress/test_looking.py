"""How many pictures run together, and what is kept of them."""

import weakref

import numpy as np

from denseclip.apis.segmentation import Segmentation
from denseclip.apis.stress import looking
from denseclip.apis.stress.looking import look, tally
from denseclip.apis.stress.pictures import Labelled
from denseclip.clip.vocabulary import Vocabulary


class Watched:
    """A model that notes its groups, and how much of earlier results is alive when it is called."""

    def __init__(self):
        self.groups, self.alive, self.given = [], [], []

    def segment(self, pictures, words, pixel_scores):
        self.alive.append(sum(one() is not None for one in self.given))
        self.groups.append([picture.rgb.shape[:2] for picture in pictures])
        return [self.result(picture.rgb) for picture in pictures]

    def result(self, rgb):
        shape, words = rgb.shape[:2], Vocabulary.from_names(['a', 'b'])
        palette = np.zeros((2, 3), np.uint8)
        found = Segmentation(
            np.zeros(shape, np.uint8), words, palette, rgb, None, {}, pixel_scores=np.zeros((2, *shape), np.float32)
        )
        self.given.append(weakref.ref(found))
        return found


def drawn(*sizes):
    return [Labelled(np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.int64), '') for h, w in sizes]


def test_groups_are_as_large_as_their_own_pictures_allow(monkeypatch):
    monkeypatch.setattr(looking, '_MOST_NUMBERS', 4 * 100)  # a hundred pixels of two classes and what is beside them
    model = Watched()
    pictures = drawn((5, 5), (5, 5), (5, 5), (5, 5), (5, 5), (20, 20), (2, 5), (2, 5), (10, 5))
    assert [one.rgb.shape[:2] for one, _ in look(model, pictures, 2)] == [one.rgb.shape[:2] for one in pictures]
    assert model.groups == [[(5, 5)] * 4, [(5, 5)], [(20, 20)], [(2, 5)] * 2, [(10, 5)]]


def test_results_of_earlier_groups_are_given_back(monkeypatch):
    monkeypatch.setattr(looking, '_MOST_AT_ONCE', 2)
    model = Watched()
    tally(model, drawn(*[(4, 4)] * 6), ('a', 'b'))
    assert model.alive == [0, 0, 0]
