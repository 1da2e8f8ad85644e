# ADE20K as Mask-Adapter takes its numbers: the long side 896, resized by Pillow.
_base_ = './ade20k_448x448.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(dict(type='PillowResizeShortSide', short_side=896, max_long_side=896), num_classes=150)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SemanticMetric')
test_evaluator = val_evaluator
