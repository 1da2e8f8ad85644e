"""Pictures of two things whose colours can be swapped in words."""

import numpy as np
import pytest

from denseclip.datasets.miniworld.colour_pairs import MEANINGS, colour_pair
from denseclip.datasets.miniworld.grammar import held_out_pairs


@pytest.fixture(scope='module')
def pairs():
    """Some of them."""
    return [colour_pair(0, index, (64, 64)) for index in range(6)]


def test_phrases_are_two_things_and_the_same_with_their_colours_swapped(pairs):
    for pair in pairs:
        (c0, n0), (c1, n1), swapped, other = (phrase.split() for phrase in pair.phrases)
        assert c0 != c1
        assert n0 != n1
        assert swapped == [c1, n0]
        assert other == [c0, n1]


def test_no_phrase_is_one_that_captions_never_hold(pairs):
    never = {' '.join(pair) for pair in held_out_pairs()}
    assert not never & {phrase for pair in pairs for phrase in pair.phrases}


def test_things_are_apart_and_large_enough(pairs):
    for pair in pairs:
        assert pair.masks.shape == (2, 64, 64)
        assert not (pair.masks[0] & pair.masks[1]).any()
        assert (pair.masks.mean((1, 2)) >= 0.02).all()


def test_each_phrase_means_one_of_four_things_to_each_thing(pairs):
    for thing in range(2):
        assert sorted(pairs[0].meaning(phrase, thing) for phrase in range(4)) == sorted(MEANINGS)
        assert pairs[0].meaning(thing, thing) == 'right'
        assert pairs[0].meaning(2 + thing, thing) == 'other colour'


def test_the_same_index_is_the_same_picture(pairs):
    again = colour_pair(0, 3, (64, 64))
    assert np.array_equal(again.image, pairs[3].image)
    assert again.phrases == pairs[3].phrases
    assert colour_pair(1, 3, (64, 64)).phrases != again.phrases
