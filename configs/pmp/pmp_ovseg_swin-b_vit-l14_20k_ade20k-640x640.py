# Host: OVSeg, Swin-B and ViT-L/14.
_base_ = '../ovseg/ovseg_swin-b_vit-l14_120k_ade20k-640x640.py'
max_iters = 20000
model = dict(type='PMPOVSeg')
load_from = 'work_dirs/hosts/ovseg_swin-b.safetensors'  # weights of the host: the guide starts as nothing
optim_wrapper = dict(constructor='PromptGuideOptimWrapperConstructor')
param_scheduler = [dict(type='WarmupPolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters)]
train_cfg = dict(max_iters=max_iters, val_interval=5000)
train_dataloader = dict(batch_size=1)
auto_scale_lr = dict(base_batch_size=8)
