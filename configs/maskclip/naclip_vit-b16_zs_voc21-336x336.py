# NACLIP under its own protocol: whole pictures.
_base_ = [
    '../_base_/models/maskclip_clip-vit-b16.py',
    '../_base_/datasets/voc21_336x336.py',
    '../_base_/default_runtime.py',
]
model = dict(
    clip=dict(pretrained='openai', preset='naclip'),
    vocabulary='voc21_stuff',
)
