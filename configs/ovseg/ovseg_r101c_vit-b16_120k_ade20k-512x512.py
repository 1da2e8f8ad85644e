_base_ = ['../_base_/runs/ovseg_r101c_120k.py', '../_base_/datasets/ade20k-ovseg_512x512.py']
model = dict(vocabulary='ade20k_ovseg')
