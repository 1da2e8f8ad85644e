_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/context459_448x448.py']
model = dict(vocabulary='context459', test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)))
