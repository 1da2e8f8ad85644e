"""Checks of OVSeg's data side: label conversion, training and test pictures, recovered masks, and the metric."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.datasets.converters import coco, pascal_context
from denseclip.datasets.converters.ade20k_full import SHORT_SIDE, decode_numbers, full_table
from denseclip.datasets.converters.relabel import apply_table, id_table, shrink_labels, shrunk_size
from denseclip.evaluation.confusion import confusion_matrix, scores_of_confusion
from denseclip.models.segmentors.mask_targets import mask_targets

from .fixtures import Fixture
from .registry import consumes


@consumes('ovseg', 'metric')
def check_metric(fixture: Fixture) -> None:
    """The confusion matrix, OVSeg's mIoU (classes in the ground truth or predicted), and sets of classes."""
    config = fixture.config
    pairs = [(prediction, fixture.input(f'gt{i}')) for i, prediction in fixture.inputs('pred')]
    assert len(pairs) == config['images']
    confusion = sum(confusion_matrix(p, g, config['num_classes'], config['ignore']) for p, g in pairs)
    fixture.expect('confusion', confusion)
    scores = scores_of_confusion(confusion, config['evaluation_set'])
    for name, value in (('iou', scores.iou), ('acc', scores.accuracy)):
        expected = fixture.tensors[f'out.{name}']
        assert torch.equal(value.isnan(), expected.isnan())
        torch.testing.assert_close(value, expected, equal_nan=True, **fixture.manifest['tolerance'])
        fixture.compared.add(f'out.{name}')
    found = {
        'mIoU': scores.miou('gt_or_predicted'),
        'fwIoU': scores.frequency_iou,
        'mACC': scores.mean_accuracy,
        'pACC': scores.pixel_accuracy,
    }
    for name, values in scores.sets.items():
        found |= {f'mIoU-{name}': values['mIoU_gt_or_predicted'], f'pAcc-{name}': values['pAcc']}
        if 'hIoU_gt_or_predicted' in values:
            found[f'hIoU-{name}'] = values['hIoU_gt_or_predicted']
    assert set(found) == set(fixture.manifest['summary_percent'])
    for name, expected in fixture.manifest['summary_percent'].items():
        assert abs(found[name] - expected) < 1e-6, (name, found[name], expected)


@consumes('maft_pmp', 'semantic_metrics')
def check_semantic_metrics(fixture: Fixture) -> None:
    """Both definitions of mIoU on the same predictions."""
    count, ignored = fixture.config['num_classes'], fixture.config['ignore_label']
    pairs = [(scores.argmax(dim=0), fixture.input(f'gt{i}')) for i, scores in fixture.inputs('scores')]
    confusion = sum(confusion_matrix(prediction, truth, count, ignored) for prediction, truth in pairs)
    fixture.expect('conf', confusion)
    scores = scores_of_confusion(confusion)
    for suffix, divisor in (('reference', 'gt_or_predicted'), ('new', 'gt')):
        for name, value in (
            ('mIoU', scores.miou(divisor)),
            ('fwIoU', scores.frequency_iou),
            ('mACC', scores.mean_accuracy),
            ('pACC', scores.pixel_accuracy),
        ):
            fixture.expect(f'{name}_{suffix}', torch.tensor(value))


@consumes('ovseg', 'dataset_prep')
def check_dataset_prep(fixture: Fixture) -> None:
    """Raw ids to training ids of all sets, and the sizes of ADE20K-847."""
    raw = {name: fixture.input(name).numpy() for name in ('coco', 'voc', 'ade150', 'adefull_seg_rgb', 'pc')}
    order = fixture.input('pc59_to_459_id').tolist()
    table_59 = id_table({old: new for new, old in enumerate(order)}, size=pascal_context.NUM_IDS, other=255)
    converted = {
        # The authors ignore ids that COCO never uses; our converter stops at them and names the file.
        'coco': apply_table(raw['coco'], id_table(coco.STUFF_IDS, other=255)),
        'voc': zero_ignored(raw['voc']),
        'ade150': zero_ignored(raw['ade150']),
        'adefull_label': apply_table(decode_numbers(raw['adefull_seg_rgb']), full_table()),
        'pc459': apply_table(raw['pc'], pascal_context.TABLE_459),
        'pc59': apply_table(raw['pc'], table_59),
    }
    for name, labels in converted.items():
        fixture.expect(name, torch.from_numpy(labels.astype(np.int32)))
    for case in fixture.config['ade_full_resize'].values():
        size = shrunk_size(tuple(case['input_hw']), SHORT_SIDE)
        assert list(size) == case['output_hw'] == case['image_hw']
        assert list(shrink_labels(np.zeros(case['input_hw'], np.uint16), size).shape) == case['output_hw']


def zero_ignored(labels: np.ndarray) -> np.ndarray:
    """Labels of a file as mmseg's loader gives them to a set whose zero is no class."""
    with tempfile.TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope('mmseg'):
        path = Path(folder) / 'labels.png'
        Image.fromarray(labels).save(path)
        load = TRANSFORMS.build(dict(type='LoadAnnotations'))
        return load(dict(seg_map_path=str(path), reduce_zero_label=True, seg_fields=[]))['gt_seg_map']


@consumes('ovseg', 'dataset_mapper')
def check_dataset_mapper(fixture: Fixture) -> None:
    """The pipeline of a training picture without chance, its masks, and the resize of a test picture."""
    config = fixture.config
    side = config['size_divisibility']
    train = pipeline(
        dict(
            type='PillowResizeShortSide',
            short_side=config['short_edge'],
            max_long_side=config['max_size'],
            labels='floor',
        ),
        dict(type='Pad', size=(side, side), pad_val=dict(img=config['pad_image'], seg=config['pad_label'])),
    )
    done = train(picture(fixture))
    fixture.expect('image', channels_first(done['img']))
    labels = torch.from_numpy(done['gt_seg_map'].astype(np.int16))
    fixture.expect('sem_seg', labels)
    sample = Sample(labels[None])
    (target,) = mask_targets([sample], config['pad_label'], (side, side), torch.device('cpu'))
    fixture.expect('gt_classes', target.labels)
    fixture.expect('gt_mask_area', target.masks.flatten(1).sum(dim=1))
    longest = config.get('test_max_size', config['max_size'])
    test = pipeline(dict(type='PillowResizeShortSide', short_side=config['test_short_edge'], max_long_side=longest))
    fixture.expect('test_image', channels_first(test(picture(fixture))['img']))


class Sample(dict):
    """What targets are made from: a data sample with a label map (1, H, W)."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__(gt_sem_seg=labels)
        self.gt_sem_seg = type('PixelData', (), {'data': labels})


def picture(fixture: Fixture) -> dict[str, Any]:
    """The fixture's picture as a loaded sample; channels stay RGB, which no step minds."""
    image, labels = fixture.input('image').numpy(), fixture.input('label').numpy()
    return dict(img=image, img_shape=image.shape[:2], gt_seg_map=labels, seg_fields=['gt_seg_map'])


def pipeline(*steps: dict[str, Any]) -> Compose:
    """Transforms as a config would name them."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return Compose(list(steps))


def channels_first(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@consumes('ovseg', 'openclip_transform')
def check_transform(fixture: Fixture) -> None:
    """Masks recovered from the colour of the surroundings, before and after resizing, with and without erosion."""
    config = fixture.config
    image = fixture.input('image').numpy()[..., ::-1]  # pipelines carry BGR
    recover = dict(type='RecoverMask', fill=config['fill'])
    fixture.expect('maskget', region(image, recover)[1])
    eroded = pipeline({**recover, 'erode': 5})(dict(img=image.copy()))['img']
    fixture.expect('erosion5', torch.from_numpy(eroded[..., ::-1].copy()))
    shrink = dict(type='ResizeRegion', size=config['size'], mode='shortest')
    pixels, mask = region(image, shrink, recover)
    fixture.expect('val_mask', mask)
    fixture.expect('val_image', normalised(pixels))
    fixture.expect('val_plain', normalised(region(image, shrink)[0]))


def region(image: np.ndarray, *steps: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Packed pixels (3, H, W), BGR, and the mask (H, W), uint8; zeros without one."""
    packed = pipeline(*steps, dict(type='PackRegion'))(dict(img=image.copy()))
    sample = packed['data_samples']
    mask = sample.region_mask.to(torch.uint8) if 'region_mask' in sample else torch.zeros(1)
    return packed['inputs'], mask


def normalised(pixels: Tensor) -> Tensor:
    """RGB by CLIP's mean and standard deviation."""
    spec = PreprocessSpec().as_255()
    mean, std = (torch.tensor(spec[key])[:, None, None] for key in ('mean', 'std'))
    return (pixels.flip(0).float() - mean) / std
