# OVSeg's recipe on ResNet-101: a higher rate, less decay, and a tenth of the rate for the backbone.
_base_ = './ovseg_120k.py'
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4), paramwise_cfg=dict(backbone_lr_mult=0.1))
