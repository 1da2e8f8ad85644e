"""The MMEngine metric: categories and their mean, files, what is missing, bins, several processes."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from PIL import Image

from denseclip.evaluation.anomaly import AnomalyMetric, ExactPixels, check_pair, image_measures, pixel_measures
from denseclip.structures import AnomalyDataSample

RNG = np.random.default_rng(0)
MASKS = np.zeros((6, 12, 10), np.uint8)
MASKS[3:, 2:5, 2:6] = 1
MAPS = (0.5 + 0.01 * RNG.normal(size=MASKS.shape) + 0.01 * MASKS).astype(np.float32)
SCORES = [0.1, 0.4, 0.35, 0.8, 0.3, 0.9]


def sample(index, category='bottle', mask=True, **changes):
    found = AnomalyDataSample(metainfo=dict(img_path=f'{index}.png', category=category))
    found.gt_label = int(MASKS[index].any())
    if mask:
        found.gt_mask = PixelData(data=torch.from_numpy(MASKS[index])[None])
    found.anomaly_map = PixelData(data=torch.from_numpy(MAPS[index])[None])
    found.pred_score = SCORES[index]
    for key, value in changes.items():
        setattr(found, key, value)
    return found


def run(metric, samples):
    evaluator = Evaluator(metric)
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples))


def expected(indices):
    pixels = ExactPixels()
    for index in indices:
        pixels.add(*check_pair(MAPS[index], MASKS[index]))
    labels = MASKS[list(indices)].any(axis=(1, 2))
    return {**image_measures(np.array(SCORES)[list(indices)], labels), **pixel_measures(pixels)}


@pytest.mark.parametrize('pixels', ['exact', 'binned'])
def test_mean_over_categories(pixels, tmp_path):
    metric = METRICS.build(dict(type='AnomalyMetric', pixels=pixels, out=tmp_path / 'results' / 'table'))
    found = run(metric, [sample(i, 'bottle' if i % 2 else 'grid') for i in range(6)])
    rows = {'bottle': expected([1, 3, 5]), 'grid': expected([0, 2, 4])}
    for name, value in found.items():
        assert value == pytest.approx(50 * (rows['bottle'][name] + rows['grid'][name]), abs=0.006)
    content = json.loads((tmp_path / 'results' / 'table.json').read_text())
    assert content['categories']['grid'] == pytest.approx(rows['grid'], abs=1e-6)
    assert content['protocol']['measured at'] == '12x10' and content['protocol']['pixels'].startswith(pixels)
    lines = list(csv.DictReader((tmp_path / 'results' / 'table.csv').open()))
    assert [line['category'] for line in lines] == ['bottle', 'grid', 'mean']
    assert float(lines[0]['AUPRO']) == pytest.approx(rows['bottle']['AUPRO'], abs=1e-6)
    text = (tmp_path / 'results' / 'table.txt').read_text().splitlines()
    assert (
        text[0].split() == ['category', *found] and text[1].split()[1] == f'{100 * rows["bottle"]["image_AUROC"]:.1f}'
    )


def test_authors_modes():
    found = run(AnomalyMetric(aupro='anovl', image_ap='trapezoid'), [sample(i) for i in range(6)])
    labels = MASKS.any(axis=(1, 2))
    assert found['image_AP'] == round(100 * image_measures(SCORES, labels, 'trapezoid')['image_AP'], 2)
    pixels = ExactPixels()
    for pair in zip(MAPS, MASKS, strict=True):
        pixels.add(*check_pair(*pair))
    assert (
        found['AUPRO']
        == round(100 * pixel_measures(pixels, 'anovl')['AUPRO'], 2)
        != round(100 * pixel_measures(pixels)['AUPRO'], 2)
    )


@pytest.mark.parametrize(
    ('indices', 'undefined'),
    [
        ([0, 1], {'image_AUROC', 'image_AP', 'image_F1max', 'pixel_AUROC', 'pixel_AP', 'pixel_F1max', 'AUPRO'}),
        ([3, 4], {'image_AUROC'}),
        ([5], {'image_AUROC'}),
    ],
)
def test_undefined_measures_are_nan(indices, undefined):
    metric = AnomalyMetric()
    found = run(metric, [sample(i) for i in indices])
    assert {name for name, value in found.items() if math.isnan(value)} == undefined
    assert set(metric.table.undefined()) == undefined
    assert '–' in metric.table.text() and 'null' in metric.table.json()


def test_the_mean_leaves_undefined_categories_out():
    metric = AnomalyMetric()
    found = run(metric, [sample(i) for i in range(6)] + [sample(0, 'only good')])
    assert found['pixel_AUROC'] == round(100 * expected(range(6))['pixel_AUROC'], 2)
    assert metric.table.undefined()['pixel_AUROC'] == ['only good']


def test_without_masks_pictures_are_measured_still():
    for samples in ([sample(i, mask=i < 3) for i in range(6)], [sample(i, mask=False) for i in range(6)]):
        found = run(AnomalyMetric(), samples)
        assert math.isnan(found['pixel_AUROC']) and found['image_AUROC'] == round(
            100 * expected(range(6))['image_AUROC'], 2
        )
    found = run(AnomalyMetric(pixels='none'), [sample(i) for i in range(6)])
    assert math.isnan(found['AUPRO']) and found['image_AP'] > 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(gt_mask=PixelData(data=torch.zeros(1, 10, 12))), r'3\.png: .* 12 x 10, its mask 10 x 12'),
        (dict(anomaly_map=PixelData(data=torch.full((1, 12, 10), float('nan')))), r'3\.png: 120 of 120 scores'),
        (dict(pred_score=float('nan')), r'3\.png: its score is nan'),
    ],
)
def test_errors_name_the_picture(changes, message):
    with pytest.raises(ValueError, match=message):
        run(AnomalyMetric(), [sample(3, **changes)])


def test_missing_labels_scores_and_wrong_options_are_told():
    unlabelled = AnomalyDataSample(metainfo=dict(img_path='a.png'))
    with pytest.raises(ValueError, match=r'a\.png: the data sample has no gt_label'):
        run(AnomalyMetric(), [unlabelled])
    unlabelled.gt_label = 0
    with pytest.raises(ValueError, match='no pred_score'):
        run(AnomalyMetric(), [unlabelled])
    for option in ('pixels', 'aupro', 'image_ap'):
        with pytest.raises(ValueError, match=f"{option}='best' is unknown; choose from"):
            AnomalyMetric(**{option: 'best'})


def test_a_second_evaluation_starts_afresh():
    for pixels in ('exact', 'binned'):
        evaluator = Evaluator(AnomalyMetric(pixels=pixels))
        for indices in (range(6), [1, 3, 5]):
            for index in indices:
                evaluator.process([sample(index)])
            found = evaluator.evaluate(len(indices))
        assert found['pixel_AP'] == round(100 * expected([1, 3, 5])['pixel_AP'], 2)


def test_raw_maps_are_written_as_mvtec_s_evaluation_reads_them(tmp_path):
    pictures = [sample(0), sample(4)]
    pictures[1].set_metainfo(dict(defect_type='crack'))
    run(AnomalyMetric(output_dir=tmp_path / 'maps'), pictures)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob('*.tiff'))
    assert files == ['maps/bottle/test/crack/4.tiff', 'maps/bottle/test/good/0.tiff']
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / files[0])), MAPS[4])
    with pytest.raises(ValueError, match='keep_results'):
        AnomalyMetric(output_dir=tmp_path, keep_results=False)
