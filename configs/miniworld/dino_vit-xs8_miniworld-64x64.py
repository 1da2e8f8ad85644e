# A small DINO from pictures alone: crops of 96 x 96 pictures of miniworld, drawn on the fly. Two CPU cores.
_base_ = ['../_base_/default_runtime.py', '../_base_/schedules/pretrain_miniworld.py']
max_iters = 1000

model = dict(
    type='DINOPretraining',
    trunk='vit_tiny_patch16_224',
    trunk_args=dict(img_size=64, patch_size=8, embed_dim=192, depth=4, num_heads=3),
    max_iters=max_iters,
    large=64,
    small=32,
    num_small=4,
    centring='sinkhorn',
    head=dict(hidden=512, bottleneck=64, prototypes=256),
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
)
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='pseudo_collate'),
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        type='MiniworldPictures', size=(96, 96), zoom=(0.8, 1.8), part_share=0.1, pipeline=[dict(type='PackCaption')]
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
