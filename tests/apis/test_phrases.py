"""Phrases of two things: how they are read, where boxes stand, and drawn pictures whose relations are known."""

import numpy as np
import pytest
from mmengine.registry import MODELS

from denseclip.apis.config import inference_config, inference_steps
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.phrases import RELATIONS, Boxes, Phrase, find_phrase
from denseclip.datasets.miniworld.kinds import NUM_THINGS, THINGS
from denseclip.datasets.miniworld.scenes import SceneSpec
from denseclip.datasets.miniworld.world import scene
from denseclip.engine.config import load_config

CONFIG = 'configs/miniworld/maskclip_vit-xs8_zs_miniworld-128x128.py'
SCENES = [
    (16, 7, 1821691498),
    (18, 14, 1748532147),
    (6, 10, 1937468350),
    (11, 8, 2018726440),
    (16, 5, 291083974),
    (10, 17, 1004111172),
    (0, 12, 615522545),
    (5, 9, 2030670712),
    (14, 18, 1723166840),
    (5, 9, 665432296),
    (1, 13, 1777780088),
    (5, 7, 1917350099),
]
"""Two kinds of things, and the number of a scene that has two of the first, left and right of one of the second."""


@pytest.mark.parametrize(
    ('text', 'read'),
    [
        ('the man left of the red car', ('man', 'left of', 'red car')),
        ('a man to the left of a car', ('man', 'left of', 'car')),
        ('The dog that is on the right side of the old tree.', ('dog', 'right of', 'old tree')),
        ('lamp above the table', ('lamp', 'above', 'table')),
        ('an underground station under the bridge', ('underground station', 'below', 'bridge')),
        ('the cup next to the overhead projector', ('cup', 'near', 'overhead projector')),
        ('key inside the box', ('key', 'inside', 'box')),
        ('the red car', ('red car', '', '')),
    ],
)
def test_phrases_are_read_as_people_mean_them(text, read):
    found = Phrase.parse(text)
    assert (found.subject, found.relation, found.object) == read


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('  ', 'lacks a thing'),
        ('left of the car', 'lacks a thing'),
        ('the man above', 'lacks a thing'),
        ('the man left of the car above the road', 'has 2 relations'),
    ],
)
def test_says_what_a_phrase_lacks(text, said):
    with pytest.raises(UserError, match=said):
        Phrase.parse(text)


@pytest.fixture
def boxes():
    """Two small regions, left and right, and a large one below that holds a fourth; number 4 has no pixel."""
    regions = np.full((60, 80), -1)
    regions[5:15, 5:15], regions[5:15, 60:72], regions[30:58, 10:70], regions[40:45, 30:40] = 0, 1, 2, 3
    return Boxes.of(regions, 5)


@pytest.mark.parametrize(
    ('relation', 'one', 'other'),
    [('left of', 0, 1), ('right of', 1, 0), ('above', 0, 2), ('below', 2, 1), ('inside', 3, 2)],
)
def test_relations_hold_one_way(boxes, relation, one, other):
    with np.errstate(invalid='ignore'):
        said = RELATIONS[relation](boxes)
    assert said[one, other] > 0.9
    assert said[other, one] < 0.1


def test_near_is_nearer_and_the_same_both_ways(boxes):
    with np.errstate(invalid='ignore'):
        said = RELATIONS['near'](boxes)
    assert said[3, 2] == 1
    assert said[0, 2] > said[0, 1]
    np.testing.assert_allclose(said[:4, :4], said[:4, :4].T)


@pytest.fixture(scope='module')
def model():
    """The bundled small CLIP, read as NACLIP does."""
    config = load_config(CONFIG, {'model.clip.preset': 'naclip'})
    return Inferencer.from_model(MODELS.build(inference_config(config).model), inference_steps(config))


def drawn(index):
    """A scene with two things of one noun and one of another between them.

    Returns:
        Picture, phrase, regions, and which of the two is meant.
    """
    first, second, number = SCENES[index]
    labels = (first, second, *range(NUM_THINGS, NUM_THINGS + 12))
    found, _ = scene(0, 'phrases', number, SceneSpec(size=(128, 128), labels=labels))
    middles = [item.box[0] + item.box[2] / 2 for item in found.items]
    same, other = ([k for k, item in enumerate(found.items) if item.label == label] for label in (first, second))
    (meant,) = (k for k in same if middles[k] < middles[other[0]])
    assert len(same) == 2
    phrase = f'the {THINGS[first].name} left of the {THINGS[second].name}'
    return found.image, phrase, found.instances.astype(int) - 1, meant


def test_reading_the_relation_finds_more_of_two_alike(model):
    right = {True: 0, False: 0}
    for image, phrase, regions, meant in map(drawn, range(len(SCENES))):
        for read in right:
            right[read] += find_phrase(model, image, phrase, regions, read).region == meant
    assert right[True] >= right[False] + 3
    assert right[True] >= len(SCENES) / 2


def test_a_match_says_how_sure_it_is(model):
    image, phrase, regions, _ = drawn(0)
    found = find_phrase(model, image, phrase, regions)
    assert found.scores.sum() == pytest.approx(1)
    assert found.scores.shape == (3,)
    assert found.object_region not in (None, found.region)
    plain = find_phrase(model, image, found.phrase.subject, regions)
    assert plain.object_region is None
    assert plain.region == plain.scores.argmax()


def test_regions_without_a_cell_are_nobody(model):
    image, phrase, regions, _ = drawn(0)
    regions[:2, :2] = 3
    assert find_phrase(model, image, phrase, regions).scores[3] == 0


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda regions: regions[1:], 'it takes whole numbers'),
        (lambda regions: regions / 2, 'it takes whole numbers'),
        (lambda regions: np.full_like(regions, -1), 'no region fills a cell'),
        (lambda regions: np.minimum(regions, 0), 'no two regions stand so'),
    ],
)
def test_says_what_is_wrong(model, change, said):
    image, phrase, regions, _ = drawn(0)
    with pytest.raises(UserError, match=said):
        find_phrase(model, image, phrase, change(regions))
