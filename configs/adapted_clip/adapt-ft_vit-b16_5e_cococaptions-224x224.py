# Fine-tuning of the smaller tower: 4 GPUs x 128.
_base_ = './adapt-ft_vit-l14_5e_cococaptions-224x224.py'
max_iters = 4317
model = dict(clip=dict(model='ViT-B-16'))
train_dataloader = dict(batch_size=128)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 100, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=863)
auto_scale_lr = dict(base_batch_size=512)
default_hooks = dict(checkpoint=dict(interval=863))
