_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/ade20kfull_448x448.py']
model = dict(vocabulary='ade20k_full', test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)))
