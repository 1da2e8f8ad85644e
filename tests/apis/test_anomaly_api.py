"""Anomalies in single pictures: every kind of picture, what a result offers, real models, errors."""

import multiprocessing
import os
import signal
import tempfile
import time

import numpy as np
import pytest
from bright_spots import CONFIG
from PIL import Image
from tiny_config import TINY_CLIP

import denseclip
from denseclip.apis import AnomalyInferencer, UserError
from denseclip.apis.anomaly import default_config
from denseclip.apis.anomaly_folder import Item, inspect_pictures
from denseclip.apis.anomaly_methods import comparing_config, trunk_config
from denseclip.files.scratch import exit_on_signals

ANOVL = dict(type='AnoVL', clip=dict(config=TINY_CLIP), dual_layers=3, views=False, tiles=True, keep_ratio=True)


@pytest.fixture
def inferencer():
    found = AnomalyInferencer(CONFIG, device='cpu')
    found.set_object('nut')
    return found


def spotted(size=(40, 60), spot=(slice(10, 20), slice(30, 45))):
    image = np.full((*size, 3), 60, np.uint8)
    image[spot] = 255
    return image


def test_the_spot_is_found_in_the_picture_s_own_size(inferencer):
    result = inferencer.localize(spotted())
    assert result.anomaly_map.shape == (40, 60) and result.anomaly_map.dtype == np.float32
    assert 0.49 < result.anomaly_map.min() < result.pred_score <= 0.51 and 0 < result.score < 1
    mask = result.mask()
    assert mask[12:18, 33:42].all() and not mask[:, :25].any()
    [box] = result.boxes()
    assert abs(box.x - 30) <= 3 and abs(box.y - 10) <= 3 and abs(box.width - 15) <= 7 and box.score > 0.5
    order = np.argsort(result.anomaly_map, axis=None, kind='stable')
    assert (np.diff(result.score_map.ravel()[order]) >= 0).all()
    assert result.mask(0.9).sum() < mask.sum() < result.mask(0.1).sum()
    assert result.overlay().size == (60, 40)


def test_results_are_saved_and_never_overwritten_unasked(inferencer, tmp_path):
    result = inferencer.localize(spotted())
    heat, mask, raw = result.save(tmp_path / 'out', 'a')
    assert [p.name for p in (heat, mask, raw)] == ['a_heat.png', 'a_mask.png', 'a_map.tiff']
    np.testing.assert_array_equal(np.asarray(Image.open(raw)), result.anomaly_map)
    np.testing.assert_array_equal(np.asarray(Image.open(mask)) > 0, result.mask())
    with pytest.raises(UserError, match='a_heat.png'):
        result.save(tmp_path / 'out', 'a')
    result.save(tmp_path / 'out', 'a', force=True)


def test_every_kind_of_picture(inferencer, tmp_path):
    grey = spotted()[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        'rgb.png': Image.fromarray(spotted()),
        'grey.png': Image.fromarray(grey),
        'deep.png': Image.fromarray(grey.astype(np.uint16) * 257),
        'alpha.png': Image.fromarray(np.dstack([spotted(), np.full((40, 60), 255, np.uint8)])),
    }
    for name, picture in kinds.items():
        picture.save(tmp_path / name)
    maps = [inferencer.predict(tmp_path / name)[0] for name in kinds]
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])
    Image.fromarray(np.rot90(spotted())).save(tmp_path / 'turned.tiff', exif=exif)
    assert inferencer.predict(tmp_path / 'turned.tiff')[0].shape == (40, 60)


@pytest.mark.parametrize('size', [(90, 30), (30, 120), (1, 1), (6000, 40), (7, 6000)])
def test_any_size_with_a_real_model(size):
    found = AnomalyInferencer(dict(default_scope='mmseg', model=ANOVL), device='cpu')
    found.set_object('nut')
    found.model.image_size = (16, 16)
    scores, score, _ = found.predict(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8))
    assert scores.shape == size and np.isfinite(scores).all() and np.isfinite(score)


def test_scores_do_not_depend_on_what_came_before(tmp_path):
    found = AnomalyInferencer(
        dict(default_scope='mmseg', model={**ANOVL, 'adaptation': dict(kind='text', steps=2)}), device='cpu'
    )
    found.set_object('nut', defects='scratch; dent')
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 255, (64, 80, 3), dtype=np.uint8) for _ in range(3)]
    first = [found.predict(picture) for picture in pictures]
    again = [found.predict(picture) for picture in reversed(pictures)][::-1]
    for (map_a, score_a, _), (map_b, score_b, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(map_a, map_b)
        assert score_a == score_b


def test_one_call(tmp_path):
    path = tmp_path / 'nut.png'
    Image.fromarray(spotted()).save(path)
    config = tmp_path / 'config.json'
    config.write_text('{"default_scope": "mmseg", "model": {"type": "BrightSpots"}}')
    result = denseclip.anomaly(path, 'metal nut', defects='scratch', config=config, device='cpu')
    assert result.source == path and len(result.boxes()) == 1


def test_errors_say_what_to_do(inferencer, tmp_path):
    fresh = AnomalyInferencer(CONFIG, device='cpu')
    with pytest.raises(UserError, match='--object'):
        fresh.predict(spotted())
    with pytest.raises(ValueError, match='name'):
        fresh.set_object(' ')
    with pytest.raises(UserError, match='no such file'):
        inferencer.localize(tmp_path / 'nothing.png')
    with pytest.raises(UserError, match='configs/anovl'):
        AnomalyInferencer(dict(default_scope='mmseg', model=dict(type='ImgDataPreprocessor')), device='cpu')
    with pytest.raises(ValueError, match='no-such-clip'):
        AnomalyInferencer(dict(default_scope='mmseg', model=dict(ANOVL)), clip='no-such-clip', device='cpu')


@pytest.mark.parametrize(
    ('references', 'capacity', 'told'),
    [((0, 1, 2), 10_000, 'the 3 good'), ((0, 0), 10_000, 'pixels'), ((0, 1, 2), 20, 'pixels'), ((0,), 9, 'the 2 good')],
)
def test_good_pictures_tell_what_is_usual_unless_they_would_judge_themselves(tmp_path, references, capacity, told):
    def noisy(number):
        Image.fromarray(np.random.default_rng(number).integers(0, 99, (64, 64, 3), np.uint8)).save(
            path := tmp_path / f'{len(list(tmp_path.iterdir()))}.png'
        )
        return path

    good = [noisy(number) for number in references]
    config = comparing_config('references', trunk_config('dino'), image_size=64, capacity=capacity)
    model = AnomalyInferencer(config, device='cpu')
    model.set_references(good)
    if len(good) == 1:  # and others that are no references
        good += [noisy(number) for number in (5, 6)]
    unknown = Item(noisy(9))
    found = inspect_pictures(model, [unknown], good=good)
    among = inspect_pictures(model, [unknown, *(Item(path, label=False) for path in good)], good=good)
    found.close()
    among.close()
    assert told in found.told_by
    if 'good' in told:  # those that are looked at, too, count once
        assert told in among.told_by and among.pictures == found.pictures


def test_a_good_picture_that_cannot_be_read_is_named(inferencer, tmp_path):
    Image.fromarray(spotted()).save(tmp_path / 'a.png')
    (tmp_path / 'broken.png').write_bytes(b'')
    found = inspect_pictures(inferencer, [Item(tmp_path / 'a.png')], good=[tmp_path / 'broken.png'])
    found.close()
    [note] = found.notes
    assert 'good picture is left out' in note and 'broken.png' in note


def test_the_default_config_is_there():
    assert default_config().is_file()


class Slow(AnomalyInferencer):
    """Has seen one picture and works on the next."""

    def __call__(self, image, *args, **options):
        if image.source.stem == 'second':
            (image.source.parent / 'ready').touch()
            time.sleep(60)
        return super().__call__(image, *args, **options)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_waiting_maps_go_after_a_signal_or_at_the_next_start(tmp_path, monkeypatch, number):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    ready = tmp_path / 'ready'
    items = [Item(tmp_path / 'first.png'), Item(tmp_path / 'second.png')]
    for item in items:
        Image.fromarray(spotted()).save(item.path)
    model = Slow(CONFIG, device='cpu')
    model.set_object('nut')

    def work():
        with exit_on_signals():
            inspect_pictures(model, items)

    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    while not ready.exists():
        assert process.is_alive()
        time.sleep(0.01)
    assert len(list(tmp_path.glob('denseclip-anomaly-*/0.npy'))) == 1
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == (143 if number == signal.SIGTERM else -9)
    assert len(list(tmp_path.glob('denseclip-anomaly-*'))) == (number == signal.SIGKILL)
    found = inspect_pictures(model, items[:1])
    assert len(list(tmp_path.glob('denseclip-anomaly-*'))) == 1
    found.close()
    assert list(tmp_path.glob('denseclip-anomaly-*')) == []
    with pytest.raises(ValueError, match='is closed'):
        found.map_file(0)
