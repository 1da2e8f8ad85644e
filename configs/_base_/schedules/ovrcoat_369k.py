# OVRCOAT: FC-CLIP's schedule in float32; batch 8 here, 9 on three GPUs there.
_base_ = './fcclip_369k.py'
optim_wrapper = dict(type='OptimWrapper')
auto_scale_lr = dict(base_batch_size=8)
