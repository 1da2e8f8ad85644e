_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/voc20_448x448.py']
model = dict(vocabulary='voc20')
