"""Model and data set must speak of the same classes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from torch import nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets import NamedCocoDataset
from denseclip.engine.hooks import VocabularyCheckHook
from denseclip.engine.hooks.vocabulary_check import VocabularyMismatchError, check_parts, compare_vocabulary

CLASSES = ['sky', 'sign symbol', 'car']


def test_equal_names_pass_whatever_their_spelling() -> None:
    assert compare_vocabulary(['Sky', 'sign_symbol', 'CAR '], CLASSES, 'test') is None
    assert compare_vocabulary(['Sky', 'SignSymbol', 'car'], CLASSES, 'test') is None


def test_another_count_names_both_and_the_cure() -> None:
    with pytest.raises(VocabularyMismatchError) as caught:
        compare_vocabulary(['sky', 'car'], CLASSES, 'test')
    for part in ('2 classes (sky, car)', '3 (sky, sign symbol, car)', 'test set', 'model.vocabulary', '--vocabulary'):
        assert part in str(caught.value)


def test_another_order_is_a_loud_warning() -> None:
    note = compare_vocabulary(['car', 'sign symbol', 'sky'], CLASSES, 'validation')
    assert note is not None and 'another order' in note and '"sky" in the data and "car" in the model' in note


def test_synonyms_are_named() -> None:
    note = compare_vocabulary(['heavens', 'sign symbol', 'automobile'], CLASSES, 'test')
    assert note is not None and note.startswith('2 of 3 classes') and '0 "sky" is called "heavens"' in note


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_the_hook_checks_each_data_set(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Module()
    data = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': tuple(CLASSES)}))
    runner = SimpleNamespace(model=model, logger=logging.getLogger('check'), **{f'{stage}_dataloader': data})
    check = getattr(VocabularyCheckHook(), f'before_{stage}')
    check(runner)  # a model without a vocabulary
    model.vocabulary = Vocabulary.from_names(['sky', 'traffic sign', 'car'])
    with caplog.at_level(logging.WARNING):
        check(runner)
    assert '1 "sign symbol" is called "traffic sign"' in caplog.text
    model.vocabulary = Vocabulary.from_names(['sky', 'car'])
    with pytest.raises(VocabularyMismatchError):
        check(runner)


@pytest.mark.parametrize('wrap', [False, True])
def test_boxes_by_positions_stop_before_they_are_trained_under_wrong_names(tmp_path: Path, wrap: bool) -> None:
    categories = [{'id': 1, 'name': 'b'}, {'id': 2, 'name': 'a'}]
    path = tmp_path / 'train.json'
    path.write_text(json.dumps({'images': [], 'annotations': [], 'categories': categories}))

    def check(dataset: type[CocoDataset], classes: tuple[str, ...]) -> None:
        data = dataset(ann_file=str(path), metainfo={'classes': classes}, pipeline=[], lazy_init=True)
        loader = SimpleNamespace(dataset=SimpleNamespace(datasets=[data]) if wrap else data)
        runner = SimpleNamespace(model=nn.Module(), logger=logging.getLogger('check'), train_dataloader=loader)
        VocabularyCheckHook().before_train(runner)

    with pytest.raises(VocabularyMismatchError, match=r'train\.json .* "b" would be taken for "a"'):
        check(CocoDataset, ('a', 'b'))
    with pytest.raises(VocabularyMismatchError, match='"a" would be taken for "none"'):
        check(CocoDataset, ('b', 'none', 'a'))
    check(CocoDataset, ('b', 'a'))
    check(CocoDataset, ('b',))
    check(NamedCocoDataset, ('a', 'b'))


def test_parts_of_a_data_set_speak_of_the_same_classes() -> None:
    check_parts([CLASSES] * 3, 'training')
    check_parts([()], 'training')
    for other in (['car', 'sky', 'sign symbol'], ['sky', 'car']):
        with pytest.raises(VocabularyMismatchError, match='part 3 has .*one label would mean two classes'):
            check_parts([CLASSES, CLASSES, other], 'training')


def test_the_hook_looks_into_wrappers() -> None:
    def part(*classes: str) -> SimpleNamespace:
        return SimpleNamespace(metainfo={'classes': classes})

    def check(dataset: SimpleNamespace) -> None:
        model = nn.Module()
        model.vocabulary = Vocabulary.from_names(['a', 'b'])
        data = SimpleNamespace(dataset=dataset)
        VocabularyCheckHook().before_train(SimpleNamespace(model=model, logger=None, train_dataloader=data))

    check(SimpleNamespace(datasets=[part('a', 'b'), part('a', 'b')]))
    # MMDetection's ConcatDataset keeps a list where its parts differ
    metainfo = [{'classes': ('a', 'b')}, {'classes': ('b', 'a')}]
    with pytest.raises(VocabularyMismatchError, match='two classes'):
        check(SimpleNamespace(datasets=[part('a', 'b'), part('b', 'a')], metainfo=metainfo))
    with pytest.raises(VocabularyMismatchError, match='3 '):
        check(SimpleNamespace(dataset=SimpleNamespace(datasets=[part('a', 'b', 'c')])))
