# Ablation: learned contexts and the pixel-text loss, but text that does not look at the picture.
_base_ = './denseclip_fpn_clip-r50_80k_ade20k-512x512.py'
model = dict(prompting='none', context_decoder=None)
