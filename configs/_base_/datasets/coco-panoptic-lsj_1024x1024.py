# COCO 2017 panoptic, training only: 118287 pictures, 133 classes, large-scale jitter, crops of 1024 pixels.
# As unpacked: train2017/, annotations/panoptic_train2017.json and annotations/panoptic_train2017/.
_base_ = []
from denseclip.recipes import lsj_steps

crop_size = (1024, 1024)
train_pipeline = lsj_steps(crop_size)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='COCOPanopticSegments',
        data_root='data/coco',
        ann_file='annotations/panoptic_train2017.json',
        data_prefix=dict(img_path='train2017', seg_map_path='annotations/panoptic_train2017'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
