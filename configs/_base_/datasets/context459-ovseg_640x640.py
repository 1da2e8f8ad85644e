# PASCAL Context, all 459 classes, as OVSeg takes its numbers: short side 640, at most 2560, resized by Pillow.
_base_ = './context459-ovseg_512x512.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(
    dict(type='PillowResizeShortSide', short_side=640, max_long_side=2560), num_classes=459, wide=True
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
