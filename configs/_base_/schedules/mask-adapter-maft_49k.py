# Mask-Adapter's mixed training on MAFT+: 49,286 iterations at batch 24, polynomial decay.
_base_ = './mask-adapter_49k.py'
max_iters = 49286
optim_wrapper = dict(optimizer=dict(weight_decay=2e-5))
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, warmup=0, begin=0, end=max_iters)]
train_cfg = dict(val_interval=2500)
