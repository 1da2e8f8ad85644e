# The paper's recipe: AdamW 1e-4, 80k iterations of 32 pictures, backbone at a tenth of the rate.
# The warm-up multiplies the polynomial decay, both from iteration 0, as in the authors' mmcv schedule.
# `text_encoder` has rate 0; models freeze it anyway (text_encoder.frozen=True), see configs/denseclip/README.md.
_base_ = './iterations.py'
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
)
param_scheduler = [
    dict(
        type='WarmupPolyLR', power=0.9, eta_min=1e-6, warmup=1500, warmup_ratio=1e-6, by_epoch=False, begin=0, end=80000
    )
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
auto_scale_lr = dict(enable=False, base_batch_size=32)
default_hooks = dict(checkpoint=dict(interval=8000, save_best='mIoU', rule='greater'))
