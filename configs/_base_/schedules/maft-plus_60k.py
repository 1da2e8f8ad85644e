# MAFT+ Base: 60,000 iterations.
_base_ = './maft-plus_55k.py'
max_iters = 60000
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, warmup=0, begin=0, end=max_iters)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
