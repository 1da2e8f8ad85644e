_base_ = ['../_base_/runs/sam3.py', '../_base_/datasets/ade20k_1008x1008.py']
model = dict(vocabulary='ade20k')
