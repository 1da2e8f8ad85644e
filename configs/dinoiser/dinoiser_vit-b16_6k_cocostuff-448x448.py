_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/cocostuff_448x448.py']
model = dict(vocabulary='coco_stuff')
