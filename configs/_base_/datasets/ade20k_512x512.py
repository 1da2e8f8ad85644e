# ADE20K (20210/2000 pictures, 150 classes), crops of 512 x 512; the paper's augmentation (DenseCLIP, section 4.1).
# Unpack ADEChallengeData2016.zip to data/ade/ADEChallengeData2016; check it: python tools/check_dataset.py CONFIG
_base_ = './label_maps.py'
from denseclip.recipes import crop_train_steps, eval_steps, tta_steps

dataset_type = 'ADE20KDataset'
data_root = 'data/ade/ADEChallengeData2016'
crop_size = (512, 512)
img_scale = (2048, 512)

train_pipeline = crop_train_steps(150, img_scale, crop_size)
test_pipeline = eval_steps(dict(type='Resize', scale=img_scale, keep_ratio=True), 150)
# The ratios multiply `img_scale`, as in the authors' code; mmseg 1.x's own ADE20K config scales each picture's
# original size instead, which gives other numbers.
tta_pipeline = tta_steps(img_scale, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75))

train_dataloader = dict(
    batch_size=4,  # x 8 GPUs = the paper's 32
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=4,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
