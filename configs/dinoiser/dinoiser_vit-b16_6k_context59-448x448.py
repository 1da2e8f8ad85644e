_base_ = [
    '../_base_/models/dinoiser_clip-vit-b16.py',
    '../_base_/datasets/imagenet_448x448.py',
    '../_base_/datasets/context59_448x448.py',
    '../_base_/schedules/dinoiser_6k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    vocabulary='context59',
    data_preprocessor=dict(size=_base_.crop_size),
)
