# COCO 2017 panoptic, training only, as Mask-Adapter's warm-up takes it: crops of 768 pixels.
_base_ = './coco-panoptic-lsj_1024x1024.py'
from denseclip.recipes import lsj_steps

crop_size = (768, 768)
train_pipeline = lsj_steps(crop_size)
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline))
