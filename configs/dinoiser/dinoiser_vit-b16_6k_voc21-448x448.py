_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/voc21_448x448.py']
model = dict(vocabulary='voc21', background_rule=True)
