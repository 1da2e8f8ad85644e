"""Panoptic quality and mask AP as metrics, and files in COCO's panoptic format."""

import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_config import CONFIGS

from denseclip.engine.config import load_config
from denseclip.engine.launch import set_task
from denseclip.evaluation import MaskAPMetric, PanopticQualityMetric
from denseclip.evaluation.panoptic_files import (
    read_panoptic_json,
    read_panoptic_png,
    write_panoptic_json,
    write_panoptic_png,
)
from denseclip.evaluation.panoptic_quality import PanopticCounts, PanopticFormatError

META = dict(classes=('cat', 'grass', 'dog'), thing_classes=('cat', 'dog'), category_ids=(17, 193, 18))


def sample_of(number=1):
    """Two cats and grass; one cat and the grass are found, a dog is invented, and one cat is a crowd."""
    truth = torch.zeros(12, 16, dtype=torch.int32)
    truth[6:] = 2
    truth[1:5, 1:6], truth[1:5, 9:14] = 1, 3
    listed = [
        dict(id=1, category_id=0, iscrowd=0, area=20),
        dict(id=2, category_id=1, iscrowd=0, area=96),
        dict(id=3, category_id=0, iscrowd=1, area=20),
    ]
    found = torch.where(truth == 3, 0, truth)
    found[0, :4] = 7
    found[5:7, :2] = 8
    sample = SegDataSample(metainfo=dict(img_path=f'x/{number:03d}.jpg', img_id=number, ori_shape=(12, 16)))
    sample.gt_panoptic_seg = PixelData(metainfo=dict(segments_info=listed), data=truth[None])
    predicted = [dict(id=i, category_id=c, isthing=c != 1, score=0.9) for i, c in ((1, 0), (2, 1), (7, 2), (8, 2))]
    sample.pred_panoptic_seg = PixelData(metainfo=dict(segments_info=predicted), data=found[None])
    masks = torch.stack([truth == 1, truth == 3, truth == 2])
    sample.pred_instances = InstanceData(
        masks=masks, labels=torch.tensor([0, 0, 2]), scores=torch.tensor([0.9, 0.8, 0.7])
    )
    return sample


def evaluate(metric, samples):
    metric.dataset_meta = META
    metric.process(None, [s.to_dict() for s in samples])
    return metric.evaluate(len(samples))


def test_quality_in_percent_by_kind(tmp_path):
    values = evaluate(PanopticQualityMetric(classwise=True), [sample_of()])
    # cat: a match; grass: 94 of 96 pixels; dog: pixels on void are ignored for 7 (all void), 8 lies half on grass.
    assert values['PQ_th'] == pytest.approx(50.0) and values['SQ_th'] == pytest.approx(50.0)
    assert values['PQ_st'] == pytest.approx(100 * 94 / 96, abs=1e-3) and values['RQ_st'] == 100.0
    assert values['PQ'] == pytest.approx((100 + 100 * 94 / 96 + 0) / 3, abs=1e-3)


def test_sets_of_classes_have_means_of_their_own():
    values = evaluate(PanopticQualityMetric(sets=dict(unseen=['cat', 'grass'])), [sample_of()])
    assert values['PQ-unseen'] == pytest.approx((100 + 100 * 94 / 96) / 2, abs=1e-3) and values['RQ-unseen'] == 100.0
    with pytest.raises(ValueError, match="'cow'"):
        evaluate(PanopticQualityMetric(sets=dict(unseen=['cow'])), [sample_of()])


def test_files_hold_what_was_scored_and_can_be_read_back(tmp_path):
    evaluate(PanopticQualityMetric(output_dir=tmp_path), [sample_of(4), sample_of(5)])
    content = read_panoptic_json(tmp_path / 'panoptic.json')
    assert [a['image_id'] for a in content['annotations']] == [4, 5]
    annotation = content['annotations'][0]
    assert annotation['segments_info'][1] == {'id': 2, 'category_id': 193}
    ids = read_panoptic_png(tmp_path / 'panoptic' / annotation['file_name'])
    assert np.array_equal(ids, sample_of().pred_panoptic_seg.data[0].numpy())


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_round_trip_through_colour_files(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([[0], rng.choice(np.arange(1, 2**24), 5, replace=False)])
    ids = numbers[rng.integers(0, 6, (9, 11))]
    segments = [dict(id=int(i), category_id=int(i) % 3) for i in np.unique(ids[ids > 0])]
    folder = tmp_path_factory.mktemp('png')
    write_panoptic_png(folder / 'a.png', ids)
    write_panoptic_json(folder / 'a.json', [dict(image_id=1, file_name='a.png', segments_info=segments)])
    (annotation,) = read_panoptic_json(folder / 'a.json')['annotations']
    back = read_panoptic_png(folder / annotation['file_name'])
    assert np.array_equal(back, ids) and annotation['segments_info'] == segments
    counts = PanopticCounts(3)
    counts.update(ids, segments, back, annotation['segments_info'])
    assert counts.fp.sum() == counts.fn.sum() == 0 and counts.iou.sum() == len(segments)


def test_files_of_another_kind_are_named(tmp_path):
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(tmp_path / 'grey.png')
    with pytest.raises(PanopticFormatError, match=r'grey\.png'):
        read_panoptic_png(tmp_path / 'grey.png')
    (tmp_path / 'wrong.json').write_text(json.dumps({'annotations': [{'bbox': []}]}))
    with pytest.raises(PanopticFormatError, match='instances file'):
        read_panoptic_json(tmp_path / 'wrong.json')
    (tmp_path / 'text.json').write_text('{')
    with pytest.raises(PanopticFormatError, match='no JSON'):
        read_panoptic_json(tmp_path / 'text.json')


def test_missing_parts_say_what_to_do():
    sample = sample_of()
    del sample.pred_panoptic_seg
    with pytest.raises(ValueError, match='--task panoptic'):
        evaluate(PanopticQualityMetric(), [sample])
    sample = sample_of()
    del sample.pred_instances
    with pytest.raises(ValueError, match='--task instance'):
        evaluate(MaskAPMetric(), [sample])


def test_average_precision_ignores_crowds_and_counts_false_alarms(tmp_path):
    samples = [sample_of(1), sample_of(2)]
    values = evaluate(MaskAPMetric(output_dir=tmp_path), samples)
    assert values['AP'] == values['AP_50'] == 100.0  # the crowd's detection counts neither way; no dog is in the truth
    assert len(json.loads((tmp_path / 'instances.json').read_text())) == 6
    samples[1].pred_instances.masks[0] = False
    assert 40 < evaluate(MaskAPMetric(), samples)['AP'] < 60  # one of two cats
    for sample in samples:
        sample.pred_instances = sample.pred_instances[:0]
    assert evaluate(MaskAPMetric(), samples)['AP'] == 0.0


def test_the_documented_option_reaches_the_metric_of_the_task():
    text = (CONFIGS.parent / 'docs' / 'panoptic.md').read_text(encoding='utf-8')
    (option,) = re.findall(r'([\w.]+\.ann_file)=', text)
    config = load_config(CONFIGS / 'fcclip' / 'fcclip_convnext-l_369k_cocopanoptic-1333x800.py', {option: 'own.json'})
    set_task(config, 'instance')
    assert config.test_evaluator == dict(type='MaskAPMetric', ann_file='own.json')


def test_average_precision_against_a_file_goes_by_name(tmp_path):
    """Categories of the file in another order than the classes, which MMDetection's metric would mix up."""
    from pycocotools import mask as rle

    cat = np.asfortranarray((sample_of().gt_panoptic_seg.data[0] == 1).numpy().astype(np.uint8))
    code = rle.encode(cat)
    entry = dict(segmentation={'size': code['size'], 'counts': code['counts'].decode()}, area=20, iscrowd=0)
    content = dict(
        info={},
        images=[dict(id=1, height=12, width=16)],
        annotations=[dict(id=1, image_id=1, category_id=5, bbox=[1, 1, 5, 4], **entry)],
        categories=[dict(id=3, name='dog'), dict(id=5, name='cat')],
    )
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(content))
    values = evaluate(MaskAPMetric(ann_file=str(path)), [sample_of()])
    assert values['AP_50'] == 100.0 and not math.isnan(values['AP_s'])
    content['categories'][1]['name'] = 'kitten'
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='no category cat'):
        evaluate(MaskAPMetric(ann_file=str(path)), [sample_of()])
