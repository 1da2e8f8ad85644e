_base_ = [
    '../_base_/models/maskclip_clip-vit-b16.py',
    '../_base_/datasets/context59_448x448.py',
    '../_base_/default_runtime.py',
]
model = dict(vocabulary='context59', test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)))
