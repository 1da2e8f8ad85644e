# The student on pictures of 320 x 240, which are four ninths of the pixels: half the time, fewer thin objects.
_base_ = './distill_fpn_efficientnet-lite0_camvid-256x320.py'
from denseclip.recipes import crop_train_steps, eval_steps

crop_size = (192, 256)
img_scale = (320, 240)
model = dict(
    data_preprocessor=dict(size=crop_size),
    # Steps are cheap at this size: all but the first layers learn, and batch norm with them.
    backbone=dict(frozen_stages=1, norm_eval=False),
)
train_pipeline = crop_train_steps(11, img_scale, crop_size, ratio_range=(0.75, 1.5))
test_pipeline = eval_steps(dict(type='Resize', scale=img_scale, keep_ratio=True), num_classes=11)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
