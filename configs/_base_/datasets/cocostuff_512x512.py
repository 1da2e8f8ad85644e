# COCO-Stuff 164k for MaskCLIP+: labels are hidden in training as in voc20_512x512.py.
_base_ = ['./cocostuff_448x448.py', './cocostuff_1333x800.py']
from denseclip.recipes import crop_train_steps, eval_steps

crop_size = (512, 512)
train_pipeline = crop_train_steps(171, (2048, 512), crop_size, cat_max_ratio=1.0, labels=[dict(type='SuppressLabels')])
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 512), keep_ratio=True), num_classes=171)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
