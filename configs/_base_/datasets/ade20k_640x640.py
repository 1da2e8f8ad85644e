# ADE20K in crops of 640 x 640, else as ade20k_512x512.py.
_base_ = './ade20k_512x512.py'
from denseclip.recipes import crop_train_steps, eval_steps, tta_steps

crop_size = (640, 640)
img_scale = (2048, 640)

train_pipeline = crop_train_steps(150, img_scale, crop_size)
test_pipeline = eval_steps(dict(type='Resize', scale=img_scale, keep_ratio=True), num_classes=150)
tta_pipeline = tta_steps(img_scale, ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75))

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
