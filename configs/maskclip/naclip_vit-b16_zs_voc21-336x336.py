# NACLIP under its own protocol: whole pictures, unsure pixels are background.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc21_336x336.py']
model = dict(
    clip=dict(pretrained='openai', preset='naclip'),
    vocabulary='voc21_sclip',
    post=dict(background=0, prob_threshold=0.1),
)
