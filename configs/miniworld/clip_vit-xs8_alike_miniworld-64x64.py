# Second part of the small CLIP's training: batches of look-alike scenes, which only the nouns tell apart. It starts
# from the weights of clip_vit-xs8_miniworld-64x64.py.
_base_ = './clip_vit-xs8_miniworld-64x64.py'
max_iters = 900
load_from = 'work_dirs/clip_vit-xs8_miniworld-64x64/iter_1800.pth'
train_dataloader = dict(dataset=dict(alike=32, seed=1))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=50, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
