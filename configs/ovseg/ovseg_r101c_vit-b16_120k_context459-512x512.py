_base_ = ['../_base_/runs/ovseg_r101c_120k.py', '../_base_/datasets/context459-ovseg_512x512.py']
model = dict(vocabulary='context459', ensemble_weight=0.6)
