# Host: MMSegmentation's Mask2Former, R50, with its fixed list of 150 classes.
_base_ = [
    '../_base_/models/pmp-mask2former_r50.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/iterations.py',
    '../_base_/default_runtime.py',
]
max_iters = 20000
model = dict(vocabulary='ade20k', data_preprocessor=dict(size=_base_.crop_size))
# weights of the host: the guide starts as nothing
load_from = (
    'https://download.openmmlab.com/mmsegmentation/v0.5/mask2former/mask2former_r50_8xb2-160k_ade20k-512x512/'
    'mask2former_r50_8xb2-160k_ade20k-512x512_20221204_000055-2d1f55f1.pth'
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='PromptGuideOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(backbone_lr_mult=0.1),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(enable=False, base_batch_size=8)
