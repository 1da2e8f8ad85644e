"""Every model that takes words, through the inferencers: words of a call, tasks, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from word_models import CLOSED, MODELS_WITH_WORDS, WRITES_TASKS

from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.apis.panoptic import PanopticSegmentation
from denseclip.apis.segmentation import Segmentation

SEGMENTORS = [name for name in MODELS_WITH_WORDS if name not in ('DenseCLIP RetinaNet', 'DenseCLIP Mask R-CNN')]
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
STEPS = [dict(type='PackSegInputs')]
WORDS = 'lamp = light; field; boat; sky'
OTHER = 'cat; hill; sea; tower'
KINDS = {'semantic': Segmentation, 'panoptic': PanopticSegmentation, 'instance': Detections}


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Any:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS_WITH_WORDS[request.param]().eval()


every_model = pytest.mark.parametrize('model', SEGMENTORS, indirect=True)
every_way = pytest.mark.parametrize('way', [Inferencer, MaskInferencer])


def names(result: Any) -> tuple[str, ...]:
    return result.names if isinstance(result, Detections) else result.vocabulary.names


@every_way
@every_model
def test_words_of_a_call_belong_to_the_call(model: Any, way: Any) -> None:
    inferencer = way.from_model(model, STEPS)
    own = inferencer.segment(PICTURE)
    first = inferencer.segment(PICTURE, WORDS)
    assert names(first) == ('lamp', 'field', 'boat', 'sky')
    assert names(inferencer.segment(PICTURE, OTHER)) == ('cat', 'hill', 'sea', 'tower')
    again = inferencer.segment(PICTURE)
    assert names(again) == names(own) and np.array_equal(again.label_map, own.label_map)
    assert np.array_equal(inferencer.segment(PICTURE, WORDS).label_map, first.label_map)


@every_model
def test_threads_never_see_the_words_of_another(model: Any) -> None:
    inferencer = MaskInferencer.from_model(model, STEPS)
    alone = {words: inferencer.segment(PICTURE, words) for words in (WORDS, OTHER)}
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda words: (words, inferencer.segment(PICTURE, words)), [WORDS, OTHER] * 3))
    for words, result in results:
        assert names(result) == names(alone[words])
        assert np.array_equal(result.label_map, alone[words].label_map)


@every_model
def test_a_task_is_given_or_refused_with_the_name_of_the_model(model: Any) -> None:
    inferencer = MaskInferencer.from_model(model, STEPS)
    for task, kind in KINDS.items():
        if task != 'semantic' and not isinstance(model, WRITES_TASKS):
            with pytest.raises(UserError, match=type(model).__name__):
                inferencer.set_task(task)
            continue
        inferencer.set_task(task)
        found = inferencer.segment(PICTURE, WORDS, things=['lamp'])
        assert type(found) is kind and names(found) == ('lamp', 'field', 'boat', 'sky')


@pytest.mark.parametrize('model', [name for name in SEGMENTORS if name in CLOSED], indirect=True)
def test_another_number_of_words_than_a_closed_model_has_is_refused(model: Any) -> None:
    inferencer = MaskInferencer.from_model(model, STEPS)
    with pytest.raises(UserError, match='4 classes'):
        inferencer.segment(PICTURE, 'a; b')
    assert names(inferencer.segment(PICTURE, WORDS)) == ('lamp', 'field', 'boat', 'sky')
