_base_ = ['../_base_/runs/ovseg_r101c_120k.py', '../_base_/datasets/context59-ovseg_512x512.py']
model = dict(vocabulary='context59_ovseg', ensemble_weight=0.6)
