# PASCAL Context without background as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, by Pillow.
_base_ = './context59_448x448.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333), num_classes=59)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SemanticMetric')
test_evaluator = val_evaluator
