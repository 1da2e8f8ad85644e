_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/ade20k_448x448.py']
model = dict(vocabulary='ade20k')
