"""mmdet's detectors train and predict on the replacement operators."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.registry import DefaultScope


def _detector(config, **backbone):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = get_config(f'mmdet::{config}').model
    cfg.backbone.init_cfg = None
    cfg.backbone.update(backbone)
    if 'roi_head' in cfg:
        cfg.neck.in_channels = [64, 128, 256, 512]
        cfg.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=20)
        cfg.train_cfg.rcnn.sampler.num = 16
        cfg.test_cfg.rpn.update(nms_pre=100, max_per_img=20)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(cfg))


def _batch(model, masks):
    from mmdet.testing import demo_mm_inputs

    # 96 wide: a level of one column has no trustworthy bfloat16 gradient (findings/bfloat16_conv_weight_gradient_...)
    packed = demo_mm_inputs(2, [(3, 64, 96), (3, 48, 96)], num_items=[2, 0], with_mask=masks)
    return model.data_preprocessor(packed, training=True)


@pytest.mark.slow
@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize(
    ('config', 'backbone'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco.py', {}),
        ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', {'depth': 18}),
    ],
    ids=['retinanet', 'mask-rcnn'],
)
def test_loss_and_predict(config, backbone, autocast):
    torch.manual_seed(0)
    model = _detector(config, **backbone)
    data = _batch(model, masks='mask' in config)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        losses = model(**data, mode='loss')
    total = sum(
        value.float().sum() for loss in losses.values() for value in (loss if isinstance(loss, list) else [loss])
    )
    assert torch.isfinite(total)
    total.backward()
    gradient = sum(p.grad.abs().sum() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(gradient) and gradient > 0
    model.eval()
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        results = model(**data, mode='predict')
    assert len(results) == 2
    for result in results:
        boxes = result.pred_instances.bboxes
        assert boxes.shape[1] == 4
        assert torch.isfinite(boxes).all()
