_base_ = ['../_base_/runs/ovseg_swin-b_120k.py', '../_base_/datasets/context459-ovseg_640x640.py']
model = dict(vocabulary='context459', ensemble_weight=0.6)
