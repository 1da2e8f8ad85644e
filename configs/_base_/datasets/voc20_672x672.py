# PASCAL VOC 2012 without background at short side 672 (protocol `spar` of docs/protocols.md).
_base_ = './voc20_448x448.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 672), keep_ratio=True), num_classes=20)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
