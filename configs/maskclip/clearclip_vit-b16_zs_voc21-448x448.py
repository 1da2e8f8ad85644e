# ClearCLIP under its own protocol: unsure pixels are background.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc21_448x448.py']
model = dict(
    clip=dict(pretrained='openai', preset='clearclip'),
    vocabulary='voc21_clearclip',
    scale=50.0,
    post=dict(background=0, prob_threshold=0.5),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)),
)
