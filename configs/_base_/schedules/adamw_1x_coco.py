# The paper's recipe for COCO: AdamW, 12 epochs of 118k pictures in batches of 16, a tenth of the rate after epochs 8
# and 11, gradients clipped at 0.1, backbone at a tenth of the rate. Mask R-CNN doubles the rate (2e-4).
# `text_encoder` has rate 0, and here it stays there: a step schedule has no floor that could lift it.
_base_ = './epochs.py'
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'text_encoder': dict(lr_mult=0.0),
            'norm': dict(decay_mult=0.0),
        }
    ),
    clip_grad=dict(max_norm=0.1, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=501),  # mmcv's 500 iterations
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP', rule='greater'))
