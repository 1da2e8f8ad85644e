"""Detectors exported: boxes, classes and masks of PyTorch at sizes that their example did not have."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from export_pictures import picture
from mmdet.registry import MODELS as MMDET
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from tiny_detectors import detector_config
from tiny_models import DECODER
from torch import nn

from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.export import ExportError, capability, export
from denseclip.export.formats import FORMATS
from denseclip.export.precision import Lowered, calibration_feeds, cost_line
from denseclip.runtime import RuntimeModel, load
from denseclip.runtime.boxes import paste

pytestmark = pytest.mark.slow
SIZES = [(64, 96), (97, 131), (200, 90), (33, 257), (12, 9), (240, 321)]
STEPS = [dict(type='Resize', scale=(160, 96), keep_ratio=True), dict(type='PackDetInputs', meta_keys=())]
META = ('ori_shape', 'img_shape', 'scale_factor')
SETTINGS = {
    'retinanet': dict(
        nms_pre=60, min_bbox_size=0, score_thr=0.2, nms=dict(type='nms', iou_threshold=0.5), max_per_img=40
    ),
    'mask-rcnn': dict(
        rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.5), max_per_img=15, mask_thr_binary=0.5),
    ),
}


def detector(kind, folder):
    """A detector whose random weights see something."""
    steps = [STEPS[0], dict(STEPS[1], meta_keys=META)]
    before = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True, pad_size_divisor=32)
    decoder = {**DECODER, 'transformer_layers': 1}
    made = detector_config(kind, 'any', data_preprocessor=before, test_cfg=SETTINGS[kind], context_decoder=decoder)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(made)
    stir(model)
    file = folder / f'{kind}.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, file)
    config = Config(dict(model=made, test_pipeline=steps, default_scope='mmdet'))
    return Detector(config, file, 'cpu', score=0.0)


def stir(model):
    """Give heads weights that are not all but alike."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and ('head' in name or 'neck' in name):
            nn.init.normal_(layer.weight, std=1 / layer.weight[0].numel() ** 0.5)
            nn.init.zeros_(layer.bias)


@pytest.fixture(scope='module', params=['retinanet', 'mask-rcnn'])
def pair(request, tmp_path_factory):
    """A detector and its export."""
    folder = tmp_path_factory.mktemp(request.param)
    model = detector(request.param, folder)
    return model, load(export(model, folder / 'out'))


def sides(found):
    """Objects in an order that rounding does not decide."""
    order = np.lexsort([*np.round(found.boxes, 2).T, found.labels])
    masks = None if found.masks is None else found.masks[order]
    return found.labels[order], found.scores[order], found.boxes[order], masks


@pytest.mark.parametrize('size', SIZES)
def test_objects_are_those_of_pytorch(pair, size):
    model, runtime = pair
    wanted, found = (one.detect(picture(size)) for one in pair)
    assert len(found) == len(wanted) > 1
    assert (np.diff(found.scores) <= 0).all()
    (labels, scores, boxes, masks), (others, numbers, corners, shapes) = sides(found), sides(wanted)
    np.testing.assert_array_equal(labels, others)
    np.testing.assert_allclose(scores, numbers, atol=1e-5)
    np.testing.assert_allclose(boxes, corners, atol=1e-3)
    assert (masks is None) == (shapes is None)
    if masks is not None:
        assert masks.shape == shapes.shape == (len(wanted), *size)
        assert shapes.any()
        assert (masks != shapes).mean() <= 1e-3
    assert (found.names, found.image.shape) == (wanted.names, wanted.image.shape)
    np.testing.assert_array_equal(found.palette, wanted.palette)


def test_the_least_score_of_a_call(pair):
    wanted, found = (one.detect([picture((97, 131))], score=0.4) for one in pair)
    assert len(found[0]) == len(wanted[0])
    with pytest.raises(UserError, match='between 0 and 1'):
        pair[1].detect(picture((9, 9)), score=2)


def test_the_command(pair, tmp_path, capsys):
    _, runtime = pair
    file = tmp_path / 'a.png'
    Image.fromarray(picture((60, 90))).save(file)
    call = ['detect', str(file), '--runtime', str(runtime.folder), '--score', '0.3', '--out', str(tmp_path / 'out')]
    assert main(call) == 0
    written = json.loads((tmp_path / 'out' / 'a_boxes.json').read_text(encoding='utf-8'))
    assert len(written['objects']) == len(runtime.detect(file, score=0.3))
    assert main([*call, '--force', '--weights', 'x.pth']) == 2
    assert 'knows no --weights' in capsys.readouterr().err
    with pytest.raises(UserError, match='which finds objects; use: denseclip detect'):
        RuntimeModel(runtime.folder)


def test_words_and_what_a_detector_cannot_do_are_refused(pair, tmp_path):
    model, runtime = pair
    with pytest.raises(UserError, match='its own 4 classes only'):
        load(runtime.folder, 'person; zebra')
    with pytest.raises(ExportError, match='classes of its training'):
        export(model, tmp_path / 'x', classes='a; b; c; d')
    head = getattr(model.model, 'bbox_head', None) or model.model.roi_head
    before = head.test_cfg['nms']
    head.test_cfg['nms'] = dict(type='soft_nms', iou_threshold=0.5)
    try:
        assert 'soft_nms' in capability(model.model).reason
    finally:
        head.test_cfg['nms'] = before


def test_what_half_precision_costs_is_told_by_the_objects(pair, tmp_path):
    model, runtime = pair
    path = tmp_path / 'image.onnx'
    path.write_bytes((runtime.folder / 'image.onnx').read_bytes())
    Image.fromarray(picture((97, 131))).save(tmp_path / 'a.png')
    graph = capability(model.model).way.graph(model.model)
    feeds = calibration_feeds(tmp_path, runtime.manifest.picture, runtime.class_embeddings(), graph)
    cost = Lowered(path, 'fp16', feeds).replace(path, FORMATS['onnx'], graph)
    assert cost['places that differ'] < 0.5
    assert 'objects surer than 0.3' in cost_line(cost)


@pytest.mark.parametrize('kind', ['RetinaNet', 'FasterRCNN'])
def test_detectors_without_words_are_what_mmdetection_predicts(kind):
    """Their graphs are those of DenseCLIP's but for the words, so that one function is compared with the other."""
    made = detector_config('retinanet' if kind == 'RetinaNet' else 'mask-rcnn', 'any')
    made = {key: made[key] for key in ('neck', 'bbox_head', 'rpn_head', 'roi_head', 'train_cfg') if key in made}
    backbone = dict(type='ResNet', depth=18, base_channels=8, norm_eval=True)
    made['neck'] = dict(made['neck'], in_channels=[8, 16, 32, 64])
    if kind == 'FasterRCNN':
        made['roi_head'] = {key: value for key, value in made['roi_head'].items() if 'mask' not in key}
    settings = ConfigDict(SETTINGS['retinanet' if kind == 'RetinaNet' else 'mask-rcnn'])
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MMDET.build(ConfigDict(type=kind, backbone=backbone, test_cfg=settings, **made))
    stir(model)
    able = capability(model)
    assert able.exportable, able.reason
    images, graph = torch.randn(1, 3, 64, 96), able.way.graph(model).eval()
    least = settings.get('score_thr', settings.get('rcnn', {}).get('score_thr'))
    sample = DetDataSample(metainfo=dict(img_shape=(60, 90), ori_shape=(60, 90), scale_factor=(1.0, 1.0)))
    with torch.inference_mode():
        boxes, scores, labels = graph(images, torch.tensor([60.0, 90.0]), torch.tensor([least]))
        wanted = model.eval().predict(images, [sample], rescale=False)[0].pred_instances
    order = scores.argsort(descending=True)[: len(wanted)]
    assert len(wanted) > 1
    torch.testing.assert_close(scores[order], wanted.scores)
    torch.testing.assert_close(boxes[order], wanted.bboxes, atol=1e-3, rtol=0)
    assert torch.equal(labels[order], wanted.labels)


def test_masks_are_pasted_as_mmdetection_does():
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    rng = np.random.default_rng(0)
    shares = rng.random((5, 7, 9), dtype=np.float32)
    boxes = np.array([[1, 2, 30, 20], [-3, 5.2, 8.7, 40], [4, 4, 4, 9], [20, 1, 60, 50], [9.9, 9.9, 10.3, 11]], 'f4')
    found = paste(shares, boxes, (40, 50), 0.6)
    assert found[:4].any(axis=(1, 2)).all()
    for mask, share, box in zip(found, torch.from_numpy(shares), torch.from_numpy(boxes), strict=True):
        wanted = torch.zeros(40, 50, dtype=torch.bool)
        values, (rows, columns) = _do_paste_mask(share[None, None], box[None], 40, 50, skip_empty=True)
        wanted[rows, columns] = values[0] >= 0.6
        assert (mask != wanted.numpy()).sum() <= 1
