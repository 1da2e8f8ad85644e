# SCLIP under its own protocol.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc20_336x336.py']
model = dict(
    clip=dict(pretrained='openai', preset='sclip'),
    vocabulary='voc20_sclip',
    scale=40.0,
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)
