# COCO 2017 boxes and masks, see coco_detection_1333x800.py.
_base_ = './coco_detection_1333x800.py'
from denseclip.recipes import box_eval_steps, box_train_steps

train_pipeline = box_train_steps(_base_.img_scale)
test_pipeline = box_eval_steps(_base_.img_scale, masks=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
