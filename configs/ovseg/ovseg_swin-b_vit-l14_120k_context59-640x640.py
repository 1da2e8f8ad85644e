_base_ = ['../_base_/runs/ovseg_swin-b_120k.py', '../_base_/datasets/context59-ovseg_640x640.py']
model = dict(vocabulary='context59_ovseg', ensemble_weight=0.6)
