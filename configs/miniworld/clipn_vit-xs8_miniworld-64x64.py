# A second text tower that says no (CLIPN) for miniworld's small CLIP, which is frozen, from captions alone.
_base_ = ['../_base_/default_runtime.py', '../_base_/schedules/pretrain_miniworld.py']
max_iters = 300
model = dict(type='YesNoCLIP', clip=dict(model='local-dir:checkpoints/miniworld_clip'))
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='pseudo_collate'),
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(type='MiniworldPictures', size=(64, 64), pipeline=[dict(type='PackCaption')]),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
