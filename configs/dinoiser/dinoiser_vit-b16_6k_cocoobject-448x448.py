_base_ = ['../_base_/runs/dinoiser_6k.py', '../_base_/datasets/cocoobject_448x448.py']
model = dict(vocabulary='coco_object', background_rule=True)
