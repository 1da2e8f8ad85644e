"""The contract of every model that takes words, through the model itself; the ways in are tested in tests/apis."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample
from word_models import CLOSED, EMBEDDING_SIZE, MODELS_WITH_WORDS, WRITES_TASKS

import denseclip.models  # noqa: F401  (registration)
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.words import TakesWords

NAMES = list(MODELS_WITH_WORDS)
WORDS = Vocabulary.of('lamp = light, lantern; field; boat; sky')
OTHER = Vocabulary.of('cat; hill; sea; tower')


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Any:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    made = MODELS_WITH_WORDS[request.param]().eval()
    made.set_vocabulary(WORDS)
    return made


every_model = pytest.mark.parametrize('model', NAMES, indirect=True)
open_models = pytest.mark.parametrize('model', [name for name in NAMES if name not in CLOSED], indirect=True)


def predict(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    samples = [SegDataSample(metainfo=dict(ori_shape=(64, 64), img_shape=(64, 64), scale_factor=(1.0, 1.0)))]
    with torch.no_grad():
        found = model.predict(torch.randn(1, 3, 64, 64), samples)[0]
    return found.pred_sem_seg.data if 'pred_sem_seg' in found else found.pred_instances.scores


def test_every_registered_model_with_words_is_here() -> None:
    kinds = {kind for kind in MODELS.module_dict.values() if isinstance(kind, type) and issubclass(kind, TakesWords)}
    built = {type(make()) for make in MODELS_WITH_WORDS.values()}
    assert {kind.__name__ for kind in kinds} == {kind.__name__ for kind in built}


@every_model
def test_vocabulary_names_and_countable_classes_follow_the_words(model: Any) -> None:
    assert model.vocabulary.classes == WORDS.classes
    assert model.dataset_meta['classes'][:4] == WORDS.names
    assert model.is_thing[:4].tolist() == [True, False, True, False]
    model.set_vocabulary(OTHER, things=['cat', 'sea'])
    assert model.dataset_meta['classes'][:4] == OTHER.names
    assert model.is_thing[:4].tolist() == [True, False, True, False]
    assert len(model.is_thing) in (4, len(model.dataset_meta['classes']))


@every_model
def test_a_palette_is_kept_while_it_fits(model: Any) -> None:
    count = len(model.dataset_meta['classes'])
    model.dataset_meta = {**model.dataset_meta, 'palette': [[k, k, k] for k in range(count)]}
    model.set_vocabulary(OTHER)
    assert len(model.dataset_meta['palette']) == count


@open_models
def test_a_palette_of_another_length_is_dropped(model: Any) -> None:
    model.dataset_meta = {**model.dataset_meta, 'palette': [[0, 0, 0]] * len(model.dataset_meta['classes'])}
    model.set_vocabulary('a; b')
    assert 'palette' not in model.dataset_meta


@every_model
def test_a_refusal_leaves_everything_as_it_was(model: Any) -> None:
    state = (model.vocabulary, dict(model.dataset_meta), model.is_thing.tolist())
    before = predict(model)
    refused = [
        lambda: model.set_vocabulary(OTHER, things=['lorry']),
        lambda: model.set_vocabulary('road; road'),
        lambda: model.set_class_embeddings(torch.ones(3, EMBEDDING_SIZE, device='cpu'), OTHER),
        lambda: model.set_task('poetry'),
    ]
    for ask in refused:
        with pytest.raises(ValueError):
            ask()
    assert (model.vocabulary, dict(model.dataset_meta), model.is_thing.tolist()) == state
    assert torch.equal(predict(model), before)


@every_model
def test_words_come_back(model: Any) -> None:
    before = predict(model)
    model.set_vocabulary(OTHER)
    predict(model)
    model.set_vocabulary(WORDS)
    assert torch.equal(predict(model), before)


@every_model
def test_embeddings_made_elsewhere_are_taken_or_refused(model: Any) -> None:
    rows = torch.randn(4, EMBEDDING_SIZE)
    try:
        model.set_class_embeddings(rows, OTHER)
    except ValueError as error:
        assert 'embeddings' in str(error)
        assert model.vocabulary.classes == WORDS.classes
        return
    assert model.vocabulary.classes == OTHER.classes
    predict(model)


@every_model
def test_tasks_are_given_or_refused_by_name(model: Any) -> None:
    model.set_task('semantic')
    for task in ('panoptic', 'instance'):
        if any(isinstance(model, kind) for kind in WRITES_TASKS):
            model.set_task(task)
            assert model.tasks.tasks == (task,)
        else:
            with pytest.raises(ValueError, match=type(model).__name__):
                model.set_task(task)


@every_model
def test_without_clipns_weights_its_background_is_refused_and_the_words_stay(model: Any) -> None:
    with pytest.raises(ValueError, match='clipn'):
        model.set_vocabulary(Vocabulary(OTHER.classes, background='clipn'))
    assert model.vocabulary.classes == WORDS.classes
    assert model.dataset_meta['classes'][:4] == WORDS.names
