"""Scores of words through the inferencers: what they mean, whose they are, what they leave out, where they are kept."""

from __future__ import annotations

import csv
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from word_models import MODELS_WITH_WORDS, WRITES_TASKS

from denseclip.apis.area_table import format_areas
from denseclip.apis.confidence import calibration_file, find_calibration, save_calibrations
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.apis.zoo import default_model
from denseclip.clip.unrelated import unrelated_words
from denseclip.core.unrelated_text import UnrelatedText
from denseclip.models.segmentors.word_scoring import Comparison
from denseclip.structures.word_scores import CALIBRATED, FEATURES, PROBABILITY, RANK, Calibration, digest

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
OTHER_PICTURES = [RNG.integers(0, 256, size, dtype=np.uint8) for size in ((48, 70, 3), (64, 64, 3))]
WORDS, OTHER_WORDS = 'lamp = light; field; boat; sky', 'cat; hill; sea; tower'
SEGMENTORS = [name for name in MODELS_WITH_WORDS if name not in ('DenseCLIP RetinaNet', 'DenseCLIP Mask R-CNN')]
WITH_EVIDENCE = {'MaskCLIP', 'ResCLIP', 'CLIP-DINOiser', 'DinoCLIP', 'SPAR', 'Trident'}
"""Models that compare pixels with texts and nothing else; the open DenseCLIP with raw texts is the bundled model."""
CALIBRATION = Calibration((0.5, 0.5), 0.0, FEATURES, digest(unrelated_words()))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Any:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    made = MODELS_WITH_WORDS[request.param]().eval()
    made.name = request.param
    return made


every_model = pytest.mark.parametrize('model', SEGMENTORS, indirect=True)


@pytest.fixture
def words_of_model(model: Any) -> MaskInferencer:
    return MaskInferencer.from_model(model, [dict(type='PackSegInputs')])


@every_model
def test_scores_say_what_they_mean_and_none_is_made_up(words_of_model: Any, model: Any) -> None:
    result = words_of_model.segment(PICTURE, WORDS)
    assert result.scores.shape == (len(result.names),) and ((result.scores >= 0) & (result.scores <= 1)).all()
    assert result.score_kind == (RANK if model.name in WITH_EVIDENCE else PROBABILITY)
    assert 'not calibrated' in format_areas(result)
    words_of_model.calibration = CALIBRATION
    calibrated = words_of_model.segment(PICTURE, WORDS)
    if model.name in WITH_EVIDENCE:
        assert calibrated.score_kind == CALIBRATED and 'not calibrated' not in format_areas(calibrated)
        expected = CALIBRATION.confidence(torch.tensor(result.evidence)).numpy()
        np.testing.assert_allclose(calibrated.scores, expected, atol=1e-5)
        assert set(calibrated.no_better_than_chance) == {
            name for name, score in zip(result.names, expected, strict=True) if score < 0.5
        }
    else:
        assert calibrated.score_kind == PROBABILITY and calibrated.evidence is None
        assert calibrated.no_better_than_chance == ()
        np.testing.assert_array_equal(calibrated.scores, result.scores)


@every_model
def test_labels_are_the_same_with_and_without_scores(words_of_model: Any, model: Any) -> None:
    plain = words_of_model.segment(PICTURE, WORDS, scores=False)
    assert plain.scores is None and plain.score('lamp') is None and plain.no_better_than_chance == ()
    scored = words_of_model.segment(PICTURE, WORDS, pixel_scores=True)
    np.testing.assert_array_equal(plain.label_map, scored.label_map)
    assert scored.pixel_scores.shape == (4, 64, 64) and scored.pixel_scores.dtype == np.float32
    assert scored.pixel_scores.min() >= 0 and scored.pixel_scores.max() <= 1 + 1e-6
    np.testing.assert_array_equal(scored.pixel_scores.argmax(axis=0), scored.label_map)
    assert words_of_model.segment(PICTURE, WORDS).pixel_scores is None
    assert model.score_request is None


@every_model
def test_classes_are_left_out_as_asked(words_of_model: Any) -> None:
    scored = words_of_model.segment(PICTURE, WORDS)
    least = float(np.sort(scored.scores[:4])[2])
    sure = words_of_model.segment(PICTURE, WORDS, min_confidence=least)
    assert sure.left_out == tuple(n for n, s in zip(scored.names, scored.scores, strict=False) if s < least)
    assert not any(sure.mask(name).any() for name in sure.left_out)
    np.testing.assert_allclose(sure.scores[:4], scored.scores[:4], atol=1e-6)
    large = words_of_model.segment(PICTURE, WORDS, min_area=0.3)
    assert set(large.left_out) == {area.name for area in scored.areas() if area.share < 0.3}
    assert not any(large.mask(name).any() for name in large.left_out)


@every_model
@pytest.mark.parametrize('wish', [{'min_area': 0.3}, {'min_confidence': 1.0}, {'min_area': 1e-9}])
def test_what_is_left_out_scores_nothing_at_any_pixel(words_of_model: Any, wish: Any) -> None:
    found = words_of_model.segment(PICTURE, WORDS, pixel_scores=True, **wish)
    out = np.array([name in found.left_out for name in found.names[:4]])
    assert not found.pixel_scores[out].any()
    inside = found.label_map < 4
    np.testing.assert_array_equal(found.pixel_scores.argmax(axis=0)[inside], found.label_map[inside])


@every_model
def test_scores_do_not_depend_on_the_batch_or_its_order(words_of_model: Any) -> None:
    pictures = [*OTHER_PICTURES, PICTURE]
    alone = [words_of_model.segment(picture, WORDS).scores for picture in pictures]
    for order in ([0, 1, 2], [2, 0, 1]):
        found = words_of_model.segment([pictures[k] for k in order], WORDS)
        for k, result in zip(order, found, strict=True):
            np.testing.assert_allclose(result.scores, alone[k], atol=0.01)  # ranks come in steps of 1/128


@every_model
def test_threads_get_the_scores_of_their_own_words(words_of_model: Any) -> None:
    alone = {words: words_of_model.segment(PICTURE, words).scores for words in (WORDS, OTHER_WORDS)}
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda w: (w, words_of_model.segment(PICTURE, w)), [WORDS, OTHER_WORDS] * 3))
    for words, result in found:
        np.testing.assert_array_equal(result.scores, alone[words])


@pytest.mark.parametrize('model', ['MaskCLIP'], indirect=True)
def test_evidence_costs_nothing_where_it_is_not_asked_for(words_of_model: Any, model: Any, monkeypatch: Any) -> None:
    calls: list[str] = []

    def counted(kind: type, name: str) -> None:
        whole = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *args: (calls.append(name), whole(*args))[1])

    counted(UnrelatedText, '__call__')
    counted(Comparison, 'reference')
    words_of_model.segment(PICTURE, WORDS, scores=False)
    batch = model.data_preprocessor({'inputs': [torch.zeros(3, 64, 64, dtype=torch.uint8)]})
    model.predict(batch['inputs'])
    assert calls == []
    words_of_model.segment(PICTURE, WORDS)
    assert calls == ['__call__', 'reference'] and model.score_request is None
    model.predict(batch['inputs'])
    assert len(calls) == 2


@pytest.mark.parametrize('model', ['MaskCLIP'], indirect=True)
def test_wishes_that_make_no_sense_are_refused(words_of_model: Any) -> None:
    for wish in ({'min_confidence': 1.5}, {'min_area': -0.1}, {'min_area': float('nan')}):
        with pytest.raises(UserError, match=f'{next(iter(wish))}.*between 0 and 1'):
            words_of_model.segment(PICTURE, WORDS, **wish)
    for wish in ({'min_confidence': 0.5}, {'min_area': 0.5}, {'pixel_scores': True}):
        with pytest.raises(UserError, match='scores=False'):
            words_of_model.segment(PICTURE, WORDS, scores=False, **wish)


@pytest.mark.parametrize('model', ['MaskCLIP'], indirect=True)
def test_files_hold_scores_and_what_was_left_out(words_of_model: Any, tmp_path: Path) -> None:
    words_of_model.calibration = CALIBRATION
    plain = words_of_model.segment(PICTURE, WORDS)
    least = float(np.median(plain.scores))
    result = words_of_model.segment(PICTURE, WORDS, min_confidence=least)
    rows = list(csv.DictReader(result.save(tmp_path)[2].open()))
    for row, name, score in zip(rows, plain.names, plain.scores, strict=True):
        assert row['class'] == name and float(row['confidence']) == pytest.approx(score, abs=1e-4)
        chance = 'no better than chance' if name in result.no_better_than_chance else ''
        assert row['remark'] == ('left out' if name in result.left_out else chance)
        assert (int(row['pixels']) > 0) <= (name not in result.left_out)
    assert f'left out: {result.left_out[0]} (' in format_areas(result)
    nothing = words_of_model.segment(PICTURE, WORDS, min_confidence=1.0)
    assert nothing.names[-1] == 'nothing' and nothing.mask('nothing').all() and np.isnan(nothing.scores[-1])
    assert not nothing.pixel_scores and len(nothing.save(tmp_path / 'nothing')) == 3


@pytest.mark.parametrize('model', ['FC-CLIP'], indirect=True)
def test_segments_and_objects_keep_scores_in_json(words_of_model: Any, model: Any, tmp_path: Path) -> None:
    assert isinstance(model, WRITES_TASKS)
    model.tasks.score_threshold = model.tasks.overlap_threshold = 0.0
    for task in ('panoptic', 'instance'):
        words_of_model.set_task(task)
        found = words_of_model.segment(PICTURE, WORDS, things=['lamp', 'boat'], min_confidence=0.0)
        scores = sorted(float(score) for score in found.scores)
        assert scores
        file = next(path for path in found.save(tmp_path / task) if path.suffix == '.json')
        kept = json.loads(file.read_text())
        entries = kept['segments_info' if task == 'panoptic' else 'objects']
        assert sorted(entry['score'] for entry in entries) == pytest.approx(scores, abs=1e-3)
        fewer = words_of_model.segment(PICTURE, WORDS, things=['lamp', 'boat'], min_confidence=scores[-1])
        assert 1 <= len(fewer.scores) <= len(scores) and min(fewer.scores) >= scores[-1]
        assert len(words_of_model.segment(PICTURE, WORDS, min_confidence=0.0, min_area=1.0).scores) < len(scores) + 1


# --- where calibrations lie -----------------------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / 'mine.safetensors'
    file.write_bytes(b'weights')
    return file


def test_calibrations_lie_beside_their_weights(weights: Path, tmp_path: Path) -> None:
    assert find_calibration(weights) is None and find_calibration(None) is None
    assert save_calibrations(weights, {'model': CALIBRATION}) == tmp_path / 'mine.confidence.json'
    save_calibrations(weights, {'maskclip': CALIBRATION})
    assert find_calibration(weights) == find_calibration(weights, 'maskclip') == CALIBRATION
    assert find_calibration(weights, 'sclip') is None
    folder = tmp_path / 'clip'
    folder.mkdir()
    (folder / 'open_clip_model.safetensors').write_bytes(b'others')
    save_calibrations(f'local-dir:{folder}', {'maskclip': CALIBRATION})
    assert find_calibration(f'local-dir:{folder}', 'maskclip') == CALIBRATION
    assert calibration_file('ViT-B-16') is None
    with pytest.raises(UserError, match="'openai' is no file or folder"):
        save_calibrations('openai', {'maskclip': CALIBRATION})


def test_a_calibration_that_does_not_fit_is_not_used_and_said(weights: Path) -> None:
    file = save_calibrations(weights, {'model': CALIBRATION})
    good = file.read_text()
    bad = {
        good.replace(CALIBRATION.words, 'else'): 'other evidence',
        '{': 'Expecting',
        '{}': 'calibrations',
        '[]': 'not calibrated',
        good.replace('"format": 1', '"format": 9'): 'format is 9',
    }
    for text, said in bad.items():
        file.write_text(text)
        with pytest.warns(UserWarning, match=f'mine.confidence.json.*{said}'):
            assert find_calibration(weights) is None
    file.write_text(good)
    weights.write_bytes(b'trained on')
    with pytest.warns(UserWarning, match='other weights'):
        assert find_calibration(weights) is None
    save_calibrations(weights, {'maskclip': CALIBRATION})
    assert find_calibration(weights) is None  # that of the former weights is gone
    assert find_calibration(weights, 'maskclip') == CALIBRATION


@pytest.mark.parametrize(
    ('place', 'names'),
    [
        (default_model()[1], ['model']),
        (ROOT / 'checkpoints' / 'miniworld_clip', ['maskclip', 'naclip', 'sclip', 'clearclip']),
    ],
)
def test_bundled_weights_are_calibrated(place: Path, names: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for name in names:
            found = find_calibration(place, name)
            assert found is not None and 0.5 < found.about['auroc'] < 1


def test_weights_of_the_package_are_calibrated_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_calibration('local-dir:checkpoints/miniworld_clip', 'naclip') is not None


# --- the bundled model ----------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def street() -> Inferencer:
    return Inferencer(device='cpu')


@pytest.fixture(scope='module')
def photograph() -> np.ndarray:
    return np.asarray(Image.open(Path(sklearn.__file__).parent / 'datasets' / 'images' / 'china.jpg'))


def test_absent_words_score_less_than_present_ones_and_are_named(street: Inferencer, photograph: np.ndarray) -> None:
    result = street.segment(photograph, 'giraffe; sky; piano; trees; submarine')
    assert result.score_kind == CALIBRATED
    there, absent = ('sky', 'trees'), ('giraffe', 'piano', 'submarine')
    assert min(result.score(name) for name in there) > 0.5 > max(result.score(name) for name in absent)
    assert set(result.no_better_than_chance) == set(absent)
    table = format_areas(result)
    for line in table.splitlines():
        if line.split()[:1] and line.split()[0] in (*there, *absent):
            assert ('no better than chance' in line) == (line.split()[0] in absent)
    kept = street.segment(photograph, 'giraffe; sky; piano; trees; submarine', min_confidence=0.5)
    assert set(kept.left_out) == set(absent) and not any(kept.mask(name).any() for name in absent)


def test_confidence_hardly_depends_on_the_size_of_the_picture(street: Inferencer, photograph: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(photograph).resize((480, 320), Image.Resampling.BICUBIC))
    words = 'sky; trees; giraffe; piano'
    both = street.segment([photograph, small], words)
    np.testing.assert_allclose(both[0].scores, both[1].scores, atol=0.1)
    np.testing.assert_allclose(both[0].scores, street.segment(photograph, words).scores, atol=1e-4)
    turned = street.segment(photograph, 'piano; giraffe; trees; sky')
    np.testing.assert_allclose(turned.scores[::-1], both[0].scores, atol=1e-4)
