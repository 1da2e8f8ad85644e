# A small student of fixed classes, without text: EfficientNet-Lite0 and a Semantic FPN of 32 channels. It is what
# `denseclip distill` trains on the labels of a teacher; classes, data and the schedule's length come from there.
# As it stands here it trains on CamVid's own labels.
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/datasets/camvid_320x400.py',
    '../_base_/schedules/adamw_camvid.py',
    '../_base_/default_runtime.py',
]
from denseclip.recipes import crop_train_steps

channels = 32
crop_size = (256, 320)
model = dict(
    data_preprocessor=dict(size=crop_size),
    # The layers of the first two strides cost most and change least.
    backbone=dict(frozen_stages=2, norm_eval=True),
    neck=dict(out_channels=channels),
    decode_head=dict(
        in_channels=[channels] * 4,
        channels=channels,
        # Over pixels that the teacher is sure of alone.
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True),
    ),
)
train_pipeline = crop_train_steps(11, (480, 360), crop_size, ratio_range=(0.75, 1.5))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# Crops in batches of four leave poor batch-norm statistics: measure them again on whole pictures at the end.
custom_hooks = [dict(type='PreciseBNHook')]
