_base_ = ['../_base_/runs/ovseg_r101c_120k.py', '../_base_/datasets/voc20-ovseg_512x512.py']
model = dict(vocabulary='voc20_ovseg', ensemble_weight=0.45)
