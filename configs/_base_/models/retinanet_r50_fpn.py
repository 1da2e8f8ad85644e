# RetinaNet on an ImageNet ResNet-50, no text. Head and neck as retinanet_clip-r50_fpn.py.
_base_ = './retinanet_clip-r50_fpn.py'
from denseclip.recipes import imagenet_r50

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(_delete_=True, **imagenet_r50()),
)
