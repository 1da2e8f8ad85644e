"""Model and data set must speak of the same classes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmseg.models import SegDataPreProcessor
from torch import nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets import NamedCocoDataset, coco_json
from denseclip.engine.hooks import VocabularyCheckHook
from denseclip.engine.hooks.vocabulary_check import (
    VocabularyMismatchError,
    check_parts,
    compare_things,
    compare_vocabulary,
)

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


def test_validations_read_the_annotation_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'val.json'
    path.write_text(json.dumps({'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'a'}]}))
    data = CocoDataset(ann_file=str(path), metainfo={'classes': ('a',)}, pipeline=[], lazy_init=True)
    read: list[str] = []
    loads = json.loads
    monkeypatch.setattr(coco_json.json, 'loads', lambda text: read.append(text) or loads(text))
    runner = SimpleNamespace(model=nn.Module(), logger=None, val_dataloader=SimpleNamespace(dataset=data))
    hook = VocabularyCheckHook()
    for _ in range(3):
        hook.before_val(runner)
    VocabularyCheckHook().before_val(runner)
    assert len(read) == 1


def test_things_of_the_model_are_those_of_the_data() -> None:
    model = SimpleNamespace(
        tasks=SimpleNamespace(tasks=('panoptic',)), is_thing=torch.tensor([False, True, True, False])
    )
    meta = {'classes': ('sky', 'sign', 'car'), 'thing_classes': ('sign', 'car')}
    assert compare_things(model, meta) is None  # the fourth is a background with words
    note = compare_things(model, {**meta, 'thing_classes': ('car',)})
    assert note is not None and '2 of 3 classes as things, the data set 1' in note and '"sign" is stuff' in note
    assert compare_things(model, {'classes': ('sky', 'sign', 'car')}) is None
    model.tasks.tasks = ('semantic',)
    assert compare_things(model, {**meta, 'thing_classes': ()}) is None


def test_other_things_are_a_warning_in_a_test(caplog: pytest.LogCaptureFixture) -> None:
    model: Any = nn.Module()
    model.vocabulary = Vocabulary.from_names(['sky', 'car'])
    model.tasks, model.is_thing = SimpleNamespace(tasks=('panoptic',)), torch.tensor([True, True])
    data = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': ('sky', 'car'), 'thing_classes': ('car',)}))
    with caplog.at_level(logging.WARNING):
        VocabularyCheckHook().before_test(
            SimpleNamespace(model=model, logger=logging.getLogger('check'), test_dataloader=data)
        )
    assert '"sky" is stuff' in caplog.text


def test_padding_is_no_class() -> None:
    def train(count: int, **settings: Any) -> None:
        model: Any = nn.Module()
        model.data_preprocessor = SegDataPreProcessor(**settings)
        data = SimpleNamespace(dataset=SimpleNamespace(metainfo={'classes': tuple(map(str, range(count)))}))
        VocabularyCheckHook().before_train(SimpleNamespace(model=model, logger=None, train_dataloader=data))

    train(255, size_divisor=32)
    train(300, size_divisor=32, seg_pad_val=65535)
    train(300)  # pads nothing
    with pytest.raises(VocabularyMismatchError, match='seg_pad_val=255 .* 300 classes .* 65535'):
        train(300, size_divisor=32)
