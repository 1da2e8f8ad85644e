"""Threads that share a model: every call gets its own words, whatever the others ask for and whatever fails."""

import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from bright_spots import CONFIG
from mmengine.registry import DefaultScope
from PIL import Image
from tiny_pmp_hosts import CLIP, HEAD

import denseclip
from denseclip.apis import AnomalyInferencer, Detections
from denseclip.apis import inferencer as module
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.loading import forget_shared_model
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.apis.turns import builds, keep_last, turn_of
from denseclip.models.builder import build_module

WORDS = ('temple; sky=heavens', 'lake; tree; car', 'wall', 'road; sky; grass; pole; sign')
CALLS = 6


def in_threads(*calls):
    """Run calls at the same time, each several times; their results."""
    start = threading.Barrier(len(calls))

    def work(call):
        start.wait()
        return [call() for _ in range(CALLS)]

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(work, calls))


def assert_equal_to_serial(segment, words=WORDS):
    serial = [segment(w) for w in words]
    for expected, found in zip(serial, in_threads(*(lambda w=w: segment(w) for w in words)), strict=True):
        for result in found:
            assert result.names == expected.names
            np.testing.assert_array_equal(result.label_map, expected.label_map)
            np.testing.assert_array_equal(result.palette, expected.palette)


def test_each_call_of_one_inferencer_gets_its_own_words(inferencer, photo):
    assert_equal_to_serial(lambda words: inferencer.segment(photo, words))
    assert inferencer.vocabulary == inferencer.own_vocabulary


def test_each_call_of_the_shared_model_gets_its_own_words(model_files, photo, monkeypatch):
    built = []
    monkeypatch.setattr(module, 'default_model', lambda: built.append(1) or time.sleep(0.1) or model_files)
    forget_shared_model()
    found = in_threads(*(lambda w=w: denseclip.segment(photo, w, device='cpu').names for w in WORDS))
    assert [set(names) for names in found] == [{denseclip.Vocabulary.of(w).names} for w in WORDS]
    assert len(built) == 1
    forget_shared_model()


def test_a_failing_call_leaves_the_words_of_the_others(inferencer, photo):
    def fails():
        with pytest.raises(UserError, match='one two three'):
            inferencer.segment(photo, 'sky; one two three four five six seven eight')
        with pytest.raises(ValueError, match='duplicate'):
            inferencer.segment(photo, 'sky; sky')

    expected = inferencer.segment(photo, WORDS[0]).label_map
    found = in_threads(lambda: inferencer.segment(photo, WORDS[0]), fails, lambda: inferencer.segment(photo), fails)
    assert all((r.label_map == expected).all() and r.names == ('temple', 'sky') for r in found[0])
    assert {r.names for r in found[2]} == {inferencer.own_vocabulary.names}


def test_a_model_that_fails_half_way_is_told_its_words_again(inferencer, photo, monkeypatch):
    """Whatever a failed change has left in the model, the next call has its words."""
    expected = inferencer.segment(photo).label_map
    tell = inferencer.model.set_vocabulary

    def half(vocabulary):
        tell(vocabulary)
        raise ValueError('broken')

    with monkeypatch.context() as patch:
        patch.setattr(inferencer.model, 'set_vocabulary', half)
        with pytest.raises(UserError, match='broken'):
            inferencer.segment(photo, 'a; b')
    np.testing.assert_array_equal(inferencer.segment(photo).label_map, expected)


def test_inferencers_of_one_model_do_not_mix_their_words(inferencer, photo, pipeline):
    other = Inferencer.from_model(inferencer.model, [step for step in pipeline[1:] if 'Annot' not in step['type']])
    other.set_vocabulary('lake; tree')
    assert inferencer.segment(photo).names == inferencer.own_vocabulary.names
    found = in_threads(lambda: inferencer.segment(photo).names, lambda: other.segment(photo).names)
    assert [set(names) for names in found] == [{inferencer.own_vocabulary.names}, {('lake', 'tree')}]


def test_a_model_that_was_told_directly_keeps_its_new_words(inferencer, photo):
    inferencer.model.set_vocabulary('lake; tree; car')
    assert inferencer.segment(photo).names == ('lake', 'tree', 'car') == inferencer.vocabulary.names
    assert inferencer.segment(photo, 'sky').names == ('sky',)
    inferencer.model.set_vocabulary('wall; floor')
    assert inferencer.segment(photo, 'sky').names == ('sky',)
    assert inferencer.segment(photo).names == ('wall', 'floor')


def test_transforms_that_note_a_size_are_not_mixed(inferencer):
    """MMSegmentation's ResizeShortestEdge keeps the present picture's size in itself."""
    steps = [dict(type='ResizeShortestEdge', scale=64, max_size=256), dict(type='PackSegInputs')]
    shared = Inferencer.from_model(inferencer.model, steps)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 90), (90, 40), (64, 64), (200, 50))]
    serial = [shared.segment(picture).label_map for picture in pictures]
    found = in_threads(*(lambda p=p: shared.segment(p).label_map for p in pictures))
    for expected, maps in zip(serial, found, strict=True):
        assert all(np.array_equal(m, expected) for m in maps)


@pytest.fixture(scope='module')
def queries():
    torch.manual_seed(0)
    test_cfg = dict(task='semantic', score_threshold=0.0, overlap_threshold=0.0)
    model = build_module(
        dict(type='FCCLIP', clip=CLIP, head=HEAD, vocabulary='car; road; sky', templates='photo', things=['car', 'sky'])
        | dict(test_cfg=test_cfg)
    )
    steps = [dict(type='PillowResizeShortSide', short_side=64, max_long_side=128), dict(type='PackPanopticInputs')]
    found = MaskInferencer.from_model(model, steps)
    found._things, found.score = None, 0.0
    found.set_task('semantic')
    return found


def test_queries_get_the_words_and_things_of_their_call(queries):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert_equal_to_serial(lambda words: queries.segment(picture, words))
    queries.set_task('instance')
    found = in_threads(
        lambda: queries.segment(picture, 'bus; sky', things=['sky']),
        lambda: queries.segment(picture, 'bus; sky; cat'),
        lambda: queries.segment(picture),
    )
    kinds = [{r.names[label] for r in results for label in r.labels} for results in found]
    assert all(isinstance(r, Detections) for results in found for r in results)
    assert kinds[0] <= {'sky'} and kinds[1] <= {'bus', 'cat'} and kinds[2] <= {'car', 'sky'}
    assert queries.segment(picture).names == ('car', 'road', 'sky')
    assert queries.model.is_thing.tolist() == [True, False, True]  # what the model's config says, also afterwards


def test_each_call_of_an_anomaly_model_gets_its_own_object(monkeypatch):
    found = AnomalyInferencer(CONFIG, device='cpu')
    found.set_object('nut')
    picture, seen, step = np.zeros((20, 30, 3), np.uint8), [], found.model.test_step

    def noted(batch):
        time.sleep(0.002)
        seen.append((threading.get_ident(), found.model.object_name))
        return step(batch)

    monkeypatch.setattr(found.model, 'test_step', noted)
    asked = {}

    def call(*words, **more):
        asked[threading.get_ident()] = words[0] if words else 'nut'
        found.localize(picture, *words, **more)

    in_threads(lambda: call('pill', defects='crack'), call, lambda: call('screw'))
    assert len(seen) == 3 * CALLS and all(name == asked[thread] for thread, name in seen)
    assert found.object_name == 'nut'
    with pytest.raises(UserError, match='go with object'):
        found.predict(picture, defects='crack')


def test_one_thread_at_a_time_builds():
    """MMEngine's default scope is one per process: two builds at a time would leave the other's behind."""
    inside, most = [], []

    @builds
    def build(scope):
        with DefaultScope.overwrite_default_scope(scope):
            inside.append(scope)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(scope)

    def scope():
        return getattr(DefaultScope.get_current_instance(), 'scope_name', None)

    before = scope()
    in_threads(*(lambda s=s: build(s) for s in ('mmdet', 'mmseg', 'mmcls')))
    assert set(most) == {1} and scope() == before


def test_one_is_made_for_all_who_ask_at_the_same_time():
    made = []

    @keep_last
    def make(*key):
        if key == ('bad',):
            raise ValueError('no such model')
        made.append(key)
        time.sleep(0.02)
        return list(key)

    found = in_threads(*[lambda: make('a', 1)] * 4)
    assert len({id(x) for results in found for x in results}) == 1 and made == [('a', 1)]
    with pytest.raises(ValueError, match='no such model'):
        make('bad')
    assert make('a', 1) == ['a', 1] and len(made) == 2  # the last call's model is gone: two need not fit into memory


def test_a_turn_belongs_to_its_model_and_is_no_part_of_it():
    model = torch.nn.Linear(1, 1)
    assert turn_of(model) is turn_of(model) and turn_of(copy.deepcopy(model)) is not turn_of(model)
    assert not any('turn' in name for name in vars(model))


def test_pictures_are_read_outside_the_turn(inferencer, tmp_path):
    """A slow disk or a large file of one thread does not hold the others up."""
    path = tmp_path / 'a.png'
    Image.new('RGB', (20, 20)).save(path)
    done = threading.Event()
    with turn_of(inferencer.model):
        thread = threading.Thread(target=lambda: (pytest.raises(UserError, inferencer.segment, 'no.png'), done.set()))
        thread.start()
        assert done.wait(5)
    thread.join()
