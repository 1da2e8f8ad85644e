# ClearCLIP under its own protocol.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc20_448x448.py']
model = dict(
    clip=dict(pretrained='openai', preset='clearclip'),
    vocabulary='voc20_clearclip',
    scale=50.0,
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
