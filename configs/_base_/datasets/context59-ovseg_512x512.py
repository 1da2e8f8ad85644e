# PASCAL Context without background as OVSeg takes its numbers: short side 512, at most 2048, resized by Pillow.
_base_ = './context59_1333x800.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(dict(type='PillowResizeShortSide', short_side=512, max_long_side=2048), num_classes=59)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(divisor='gt_or_predicted')
test_evaluator = val_evaluator
