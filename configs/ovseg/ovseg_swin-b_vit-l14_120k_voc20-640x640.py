_base_ = ['../_base_/runs/ovseg_swin-b_120k.py', '../_base_/datasets/voc20-ovseg_640x640.py']
model = dict(vocabulary='voc20_ovseg', ensemble_weight=0.45)
