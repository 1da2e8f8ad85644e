_base_ = [
    '../_base_/models/maskclip-plus_deeplabv2-r101.py',
    '../_base_/datasets/voc20_512x512.py',
    '../_base_/schedules/sgd_4k.py',
    '../_base_/default_runtime.py',
]
max_iters = 2000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=max_iters)]
model = dict(
    vocabulary='voc20',
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(embed_dim=1024),
    teacher=dict(clip=dict(model='RN50')),
)
