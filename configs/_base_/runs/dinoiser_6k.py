# CLIP-DINOiser: all but the test set and its words.
_base_ = [
    '../models/dinoiser_clip-vit-b16.py',
    '../datasets/imagenet_448x448.py',
    '../schedules/dinoiser_6k.py',
    '../default_runtime.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
