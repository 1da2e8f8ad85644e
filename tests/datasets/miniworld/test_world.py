"""The world: the same sample everywhere, labels that agree with pictures, words that are held out."""

import hashlib
import multiprocessing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.clip import Vocabulary
from denseclip.clip.small_bpe import word_list
from denseclip.datasets.miniworld import grammar, shapes, textures, world
from denseclip.datasets.miniworld.kinds import (
    CLASSES,
    COLOURS,
    GROUNDS,
    NUM_THINGS,
    STUFF,
    THINGS,
    UNSEEN,
    is_held_out,
    synonyms,
)
from denseclip.datasets.miniworld.parts import DEFECTS, PARTS
from denseclip.datasets.miniworld.scenes import MIN_VISIBLE, SceneSpec, draw_scene

MIX = world.Mix()


def digest(index: int, seed: int = 0, split: str = 'train') -> str:
    image, caption, group = MIX.sample(seed, split, index)
    return hashlib.sha256(image.tobytes() + caption.encode() + group.encode()).hexdigest()


def digests_of_a_fresh_process(queue, indices) -> None:
    for cached in (textures.pattern, textures._patterns, textures.noise, shapes.outline):
        cached.cache_clear()
    queue.put([digest(index) for index in indices])


def test_another_process_draws_the_same_in_any_order():
    indices = list(range(12))
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    process = context.Process(target=digests_of_a_fresh_process, args=(queue, indices[::-1]))
    process.start()
    other = queue.get(timeout=120)
    process.join()
    assert other[::-1] == [digest(index) for index in indices]


def test_seeds_splits_and_indices_differ():
    assert len({digest(0), digest(1), digest(0, seed=1), digest(0, split='val')}) == 4


sizes = st.tuples(st.integers(32, 90), st.integers(32, 140))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), sizes, st.booleans(), st.floats(0.6, 2.5))
def test_labels_instances_and_items_agree(index, size, held_out, zoom):
    spec = SceneSpec(size, (zoom, zoom), held_out)
    scene = draw_scene(np.random.default_rng(index), spec)
    assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8
    assert scene.labels.shape == scene.instances.shape == size
    things = scene.labels < NUM_THINGS
    assert (things == (scene.instances > 0)).all()
    assert set(np.unique(scene.labels[~things])) == set(scene.stuff)
    assert scene.instances.max(initial=0) == len(scene.items)
    for number, item in enumerate(scene.items, start=1):
        rows, columns = np.nonzero(scene.instances == number)
        assert set(scene.labels[rows, columns]) == {item.label}
        assert item.area == len(rows) >= 12
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert item.box == box
        assert is_held_out(item.label, item.colour) == held_out


def test_only_allowed_labels_are_drawn():
    seen = tuple(label for label, name in enumerate(CLASSES) if name not in UNSEEN)
    spec = SceneSpec((48, 48), labels=seen)
    drawn = set()
    for index in range(60):
        drawn |= set(np.unique(draw_scene(np.random.default_rng(index), spec).labels).tolist())
    assert drawn <= set(seen) and len(drawn) > 20


def test_all_kinds_occur_and_sizes_vary():
    scenes = [draw_scene(np.random.default_rng(index), SceneSpec((48, 48), (0.8, 1.6))) for index in range(250)]
    assert {label for s in scenes for label in np.unique(s.labels).tolist()} == set(range(len(CLASSES)))
    areas = np.array([item.area for s in scenes for item in s.items]) / 48**2
    assert areas.min() < 0.06 and areas.max() > 0.2
    counts = [len(s.items) for s in scenes]
    assert set(counts) >= {1, 2, 3}
    assert {item.size for s in scenes for item in s.items} == {'small', '', 'large'}


def test_things_hide_each_other_but_not_too_much():
    overlapping = 0
    for index in range(80):
        scene = draw_scene(np.random.default_rng(index), SceneSpec((64, 64), crowding=8))
        for number, item in enumerate(scene.items, start=1):
            left, top, width, height = item.box
            inside = scene.instances[top : top + height, left : left + width]
            overlapping += bool((inside > number).any())
    assert overlapping > 10
    assert 0 < MIN_VISIBLE < 1


def test_a_very_wide_picture_has_many_things_but_no_more_than_a_byte_can_count():
    scene = draw_scene(np.random.default_rng(3), SceneSpec((32, 4096), crowding=40))
    assert 60 < len(scene.items) <= 200 and scene.instances.max() == len(scene.items)


def test_a_world_without_ground_and_sky_is_refused():
    with pytest.raises(ValueError, match='no ground and no sky'):
        draw_scene(np.random.default_rng(0), SceneSpec(labels=(0, 1, 2)))


def test_each_thing_is_held_out_in_two_colours_and_each_colour_for_four_things():
    table = np.array([[is_held_out(t, c) for c in range(len(COLOURS))] for t in range(NUM_THINGS)])
    assert (table.sum(axis=1) == 2).all() and (table.sum(axis=0) == 4).all()


def test_held_out_words_never_stand_together_in_training_captions():
    held_out = set(grammar.held_out_pairs())
    assert ('red', 'ball') in held_out
    coloured = 0
    for index in range(500):
        words = MIX.sample(0, 'train', index)[1].replace(',', '').split()
        pairs = set(zip(words, words[1:], strict=False))
        coloured += any(first in COLOURS for first, _ in pairs)
        assert not pairs & held_out
    assert coloured > 300


def test_held_out_pictures_show_nothing_else():
    mix = world.Mix(held_out=True, part_share=0.0)
    held_out = set(grammar.held_out_pairs())
    nouns = {noun for kind in THINGS for noun in (kind.name, kind.plural, *kind.synonyms)}
    found = 0
    for index in range(100):
        words = mix.sample(0, 'val', index)[1].replace(',', '').split()
        pairs = {(a, b) for a, b in zip(words, words[1:], strict=False) if a in COLOURS and b in nouns}
        found += len(pairs)
        assert pairs <= held_out
    assert found > 50


def test_a_batch_holds_distinct_captions():
    captions = [MIX.sample(0, 'train', index)[1] for index in range(384)]
    for start in range(0, 384, 128):
        assert len(set(captions[start : start + 128])) >= 122


def test_runs_of_look_alikes_share_ground_sky_and_few_colours():
    mix = world.Mix(alike=8, part_share=0.0)
    stuff, captions = [], []
    for run in range(12):
        said = [mix.sample(0, 'train', 8 * run + i)[1] for i in range(8)]
        settings = {mix._setting(0, 'train', 8 * run + i)[0].labels for i in range(8)}
        assert len(settings) == 1
        stuff.append(settings.pop()[NUM_THINGS:])
        assert len(stuff[-1]) == 2
        assert len({word for caption in said for word in caption.split()} & set(COLOURS)) <= world._RUN_COLOURS
        captions += said
    assert len(set(stuff)) > 6 and len(set(captions)) > 80


def test_turned_colours_are_not_named_and_nothing_else_changes():
    plain, turned = (world.Mix(alike=8, part_share=0.0, turned=share) for share in (0.0, 1.0))
    things = {word for kind in THINGS for word in (kind.name, kind.plural, *kind.synonyms)}
    stuff = {kind.name for kind in STUFF}
    grey = 0
    for index in range(64):
        image, caption, _ = turned.sample(0, 'train', index)
        words = set(caption.split())
        assert not words & set(COLOURS) and words & (things | stuff)
        assert not (words & things and words & stuff)
        before = plain.sample(0, 'train', index)[0]
        light = [picture.max(axis=2).astype(int) for picture in (before, image)]
        if (image == image[..., :1]).all():
            grey += 1  # its light is the mean of the channels, not the largest
        else:
            assert np.abs(light[0] - light[1]).max() <= 2 and not np.array_equal(before, image)
    assert 4 < grey < 40
    half = world.Mix(alike=8, part_share=0.0, turned=0.5)
    runs = [[half.sample(0, 'train', 8 * r + i)[1] for i in range(8)] for r in range(20)]
    coloured = [any(set(caption.split()) & set(COLOURS) for caption in run) for run in runs]
    assert 4 < sum(coloured) < 16


def test_crowding_bounds_the_number_of_things():
    rng_of = lambda index: world.generator(0, 'train', index)  # noqa: E731
    few = [len(draw_scene(rng_of(i), world.Mix(crowding=1).spec).items) for i in range(60)]
    assert max(few) == 2 and min(few) == 1


def test_captions_name_what_is_there():
    spec = SceneSpec((64, 64))
    for index in range(60):
        scene, rng = world.scene(0, 'train', index, spec)
        names = {THINGS[item.label] for item in scene.items}
        said = set(grammar.captions(rng, scene)[0].replace(',', '').split())
        for kind in THINGS:
            if said & {kind.name, kind.plural, *kind.synonyms} and kind not in names:
                raise AssertionError((said, kind.name))
        for label in GROUNDS:
            if CLASSES[label] in said:
                assert label in scene.stuff


def test_the_word_list_of_the_tokenizer_knows_every_word():
    words = set(word_list('miniworld'))
    assert set(grammar.vocabulary_words()) <= words
    said = {w.strip(',.') for i in range(400) for w in MIX.sample(0, 'train', i)[1].replace('-', ' ').split()}
    assert said <= words


def test_the_vocabulary_of_the_suite_is_that_of_the_world():
    entries = Vocabulary.named('miniworld').classes
    assert {entry.name: list(entry.synonyms) for entry in entries} == synonyms()
    assert tuple(entry.name for entry in entries) == CLASSES


def test_textures_that_things_wear_exist_and_kinds_are_told_apart_by_them():
    assert {kind.texture for kind in (*THINGS, *STUFF, *PARTS)} <= set(textures.NAMES)
    assert len({(kind.texture, kind.light) for kind in THINGS}) == len(THINGS)


@pytest.mark.parametrize('kind', range(len(PARTS)), ids=lambda k: PARTS[k].name)
def test_parts_and_their_defects(kind):
    for defect in (None, *range(len(DEFECTS))):
        picture = world.part(0, 'val', 3, kind, defect, (96, 80))
        assert picture.image.shape == (96, 80, 3)
        assert set(np.unique(picture.mask)) == ({0} if defect is None else {0, 255})
        if defect is not None:
            share = (picture.mask > 0).mean()
            assert 0.002 < share < 0.15, (DEFECTS[defect], share)
            inside = picture.image[picture.mask > 0].mean()
            assert np.isfinite(inside)


def test_a_defect_changes_the_picture_only_under_its_mask():
    flawless, damaged = (world.draw_part(np.random.default_rng(5), 3, defect, (96, 96)) for defect in (None, 3))
    changed = np.abs(flawless.image.astype(int) - damaged.image).max(axis=2) > 60
    assert changed[damaged.mask > 0].mean() > 0.8
