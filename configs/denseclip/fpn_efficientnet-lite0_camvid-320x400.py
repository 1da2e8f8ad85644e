# Plain baseline of denseclip_fpn_efficientnet-lite0_camvid-320x400.py: same trunk, neck and head width, no text.
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0.py',
    '../_base_/datasets/camvid_320x400.py',
    '../_base_/schedules/adamw_camvid.py',
    '../_base_/default_runtime.py',
]
# Thin and rare classes count more: sqrt(median frequency / frequency) over the training pictures.
loss = dict(
    type='ClassBalancedCrossEntropyLoss',
    class_weight=[0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.87, 2.65, 3.92],
)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(loss_decode=dict(_delete_=True, **loss)),
)
