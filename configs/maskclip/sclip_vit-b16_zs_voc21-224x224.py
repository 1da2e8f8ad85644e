# SCLIP under its own protocol: background is words for stuff, unsure pixels and small classes are background too.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc21_336x336.py']
model = dict(
    clip=dict(pretrained='openai', preset='sclip'),
    vocabulary='voc21_sclip',
    scale=65.0,
    post=dict(background=0, prob_threshold=0.1, area_threshold=0.1),
    test_cfg=dict(mode='slide', crop_size=(224, 224), stride=(112, 112)),
)
