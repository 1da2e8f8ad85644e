# PASCAL VOC 2012 without background at short side 336 (protocols `sclip`, `naclip`, `proxyclip` of docs/protocols.md).
_base_ = './voc20_448x448.py'
from denseclip.recipes import eval_steps

test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 336), keep_ratio=True), num_classes=20)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
