"""Words for areas: the word whose direction an area's features have wins; areas and words keep their order."""

import numpy as np
import pytest
import torch
from tiny_anomaly import PROMPTS, tiny_clip, tiny_model

from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.anomaly_names import RegionNamer, surroundings
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.errors import UserError
from denseclip.clip.anomaly_prompts import PromptSetError


@pytest.fixture
def inferencer():
    found = object.__new__(AnomalyInferencer)
    found.model = tiny_model('AnoVL', tiny_clip(), views=False)
    return found


def result(*boxes, size=(32, 32)):
    scores = np.zeros(size, np.float32)
    for strength, (rows, columns) in enumerate(boxes):
        scores[rows, columns] = 1.0 - 0.1 * strength
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    plain = Calibration(0.5, 0.2)
    return AnomalyResult(scores, 1.0, image, None, plain, plain)


def test_shares_of_every_area_sum_to_one_and_fall(inferencer):
    namer = RegionNamer(inferencer, 'bottle', 'scratch; dent; {} with a hole')
    found = namer(result((slice(0, 8), slice(0, 8)), (slice(16, 32), slice(16, 32))))
    assert len(found) == 2 == len(result((slice(0, 8), slice(0, 8)), (slice(16, 32), slice(16, 32))).boxes())
    for words in found:
        assert {word for word, _ in words} == {'scratch', 'dent', '{} with a hole'}
        shares = [share for _, share in words]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)


def test_the_word_that_looks_like_the_area_wins(inferencer):
    namer = RegionNamer(inferencer, 'bottle', ['scratch', 'dent'])
    shown = result((slice(8, 24), slice(8, 24)))
    with torch.no_grad():
        area = inferencer.model.embed(namer._ready(surroundings(shown.image, shown.mask())))[0][0]
    namer.text = torch.stack([-area, area]) / area.norm()
    [[(word, share), _]] = namer(shown)
    assert word == 'dent' and share > 0.5


def test_one_word_stands_against_the_good_object(inferencer):
    [[(word, share)]] = RegionNamer(inferencer, 'bottle', 'scratch')(result((slice(0, 9), slice(0, 9))))
    assert word == 'scratch' and 0 < share < 1
    assert RegionNamer(inferencer, 'bottle', 'scratch')(result()) == ()


def test_what_cannot_name_is_refused(inferencer):
    with pytest.raises(PromptSetError, match='no defect word'):
        RegionNamer(inferencer, 'bottle', 'scratch;;dent')
    inferencer.model = tiny_model('WinCLIP', prompts=PROMPTS)
    with pytest.raises(UserError, match='cannot name areas'):
        RegionNamer(inferencer, 'bottle', 'scratch')


def test_surroundings_stay_in_the_picture():
    image, mask = np.zeros((40, 90, 3), np.uint8), np.zeros((40, 90), bool)
    mask[0:3, 85:90] = True
    assert surroundings(image, mask).shape == (14, 15, 3)
    mask[:] = True
    assert surroundings(image, mask).shape == image.shape
