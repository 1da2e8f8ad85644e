# CLIP-Refine on miniworld's small CLIP and captions, which are drawn on the fly. The paper's learning rate, 1e-6, and
# its batch of 512 are for a CLIP of another size. The alignment counts as a mean over the 128 dimensions: as a sum it
# outweighs the distillation a hundredfold here.
_base_ = [
    '../_base_/schedules/pretrain_miniworld.py',
    '../_base_/schedules/evaluation.py',
    '../_base_/default_runtime.py',
]
max_iters = 150
model = dict(type='RefinedCLIP', clip=dict(model='local-dir:checkpoints/miniworld_clip'), alignment=1 / 128)
mix = dict(alike=16, crowding=1, part_share=0.1)  # as the last part of its pretraining, colours as they are
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='pseudo_collate'),
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(type='MiniworldPictures', size=(64, 64), seed=3, pipeline=[dict(type='PackCaption')], **mix),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type='pseudo_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MiniworldPictures', size=(64, 64), split='val', length=512, pipeline=[dict(type='PackCaption')]),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='PairMetric'), dict(type='PairMetric', ending='_before', prefix='before')]
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0.1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=10, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
