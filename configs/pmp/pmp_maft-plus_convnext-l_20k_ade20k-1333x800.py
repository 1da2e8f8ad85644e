# Host: MAFT+, ConvNeXt-L.
_base_ = '../maft/maft-plus_convnext-l_55k_ade20k-1333x800.py'
max_iters = 20000
model = dict(type='PMPMAFTPlus')
load_from = 'work_dirs/hosts/maftp_l.pth'  # weights of the host: the guide starts as nothing
optim_wrapper = dict(constructor='PromptGuideOptimWrapperConstructor')
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(base_batch_size=8)
