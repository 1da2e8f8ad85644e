_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/cityscapes_448x448.py']
model = dict(vocabulary='cityscapes')
