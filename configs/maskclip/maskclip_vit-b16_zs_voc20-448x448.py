_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc20_448x448.py']
model = dict(vocabulary='voc20', test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224)))
