# OVSeg's recipes for adapting CLIP: 5 epochs over 442,117 pairs, 4 GPUs x 32. AdamW, 100 iterations of warm-up, cosine
# to zero; no decay of norms, biases, vectors and the logit scale. Fine-tuning; prompts override the learning rate.
_base_ = ['./hooks.py', './evaluation.py']
max_iters = 17270
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            'in_proj_bias': dict(decay_mult=0.0),
            'class_embedding': dict(decay_mult=0.0),
            'logit_scale': dict(decay_mult=0.0),
            'mask_embedding': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 100, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=3454)
auto_scale_lr = dict(enable=False, base_batch_size=128)
default_hooks = dict(checkpoint=dict(interval=3454, max_keep_ckpts=5))
