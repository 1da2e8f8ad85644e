_base_ = ['../_base_/runs/ovseg_swin-b_120k.py', '../_base_/datasets/ade20kfull-ovseg_640x640.py']
model = dict(vocabulary='ade20k_full')
