# PASCAL VOC 2012 without background as voc20_448x448.py, squashed to the square that SAM 3 takes, by Pillow.
_base_ = './voc20_448x448.py'
from denseclip.recipes import eval_steps

_resize = dict(type='Resize', scale=(1008, 1008), keep_ratio=False, backend='pillow')
test_pipeline = eval_steps(_resize, num_classes=20)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
