# Third part of the small CLIP's training: look-alike scenes of one or two things, so that their number no longer tells
# captions apart. Small batches, many steps. It starts from the weights of clip_vit-xs8_alike_miniworld-64x64.py.
_base_ = './clip_vit-xs8_miniworld-64x64.py'
max_iters = 3000
load_from = 'work_dirs/clip_vit-xs8_alike_miniworld-64x64/iter_900.pth'
train_dataloader = dict(batch_size=64, dataset=dict(alike=16, crowding=1, turned=0.5, part_share=0.1, seed=2))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=50, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
