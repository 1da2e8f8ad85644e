# ADE20K: validation as ade20k_448x448.py, squashed to the square that SAM 3 takes, by Pillow, as transformers does.
_base_ = './ade20k_448x448.py'
from denseclip.recipes import eval_steps

_resize = dict(type='Resize', scale=(1008, 1008), keep_ratio=False, backend='pillow')
test_pipeline = eval_steps(_resize, num_classes=150)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
