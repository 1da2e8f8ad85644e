# Host: OVSeg, R101c and ViT-B/16.
_base_ = '../ovseg/ovseg_r101c_vit-b16_120k_ade20k-512x512.py'
max_iters = 20000
model = dict(type='PMPOVSeg')
load_from = 'work_dirs/hosts/ovseg_r101c.safetensors'  # weights of the host: the guide starts as nothing
optim_wrapper = dict(constructor='PromptGuideOptimWrapperConstructor')
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(base_batch_size=8)
