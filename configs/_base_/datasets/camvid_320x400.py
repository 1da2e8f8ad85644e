# CamVid in the layout of the SegNet tutorial (367/101/233 pictures of 480 x 360, 11 classes).
# Get it there: denseclip convert camvid SRC data/CamVid
_base_ = './label_maps.py'
from denseclip.recipes import crop_train_steps, eval_steps, tta_steps

dataset_type = 'CamVidDataset'
data_root = 'data/CamVid'
crop_size = (320, 400)
img_scale = (480, 360)

train_pipeline = crop_train_steps(11, img_scale, crop_size, ratio_range=(0.75, 1.75))
test_pipeline = eval_steps(dict(type='Resize', scale=img_scale, keep_ratio=True), num_classes=11)
tta_pipeline = tta_steps(img_scale, ratios=(0.75, 1.0, 1.25, 1.5, 1.75))

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='val', seg_map_path='valannot'),
        pipeline=test_pipeline,
    )
)
# Literature reports the 233 test pictures; `val` steers training only.
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='test', seg_map_path='testannot'),
        pipeline=test_pipeline,
    )
)
