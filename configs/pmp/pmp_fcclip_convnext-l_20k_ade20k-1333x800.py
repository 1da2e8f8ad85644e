# Host: FC-CLIP, ConvNeXt-L.
_base_ = '../fcclip/fcclip_convnext-l_369k_ade20k-1333x800.py'
max_iters = 20000
model = dict(type='PMPFCCLIP')
load_from = 'work_dirs/hosts/fcclip_cocopan.pth'  # weights of the host: the guide starts as nothing
optim_wrapper = dict(constructor='PromptGuideOptimWrapperConstructor')
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(base_batch_size=8)
