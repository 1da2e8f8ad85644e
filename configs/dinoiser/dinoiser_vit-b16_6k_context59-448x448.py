_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/context59_448x448.py']
model = dict(vocabulary='context59')
