# Regions mined from COCO captions (one caption a picture) for training, ADE20K's true regions for measuring.
# tools/mine_mask_pairs.py writes both folders of pairs; see docs/adapting_clip.md.
_base_ = './regions.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CutRegion', fill=(124, 116, 103)),
    dict(type='RandomResizedRegion', size=224),
    dict(type='PackRegion'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CutRegion', fill=(123, 117, 104)),
    dict(type='ResizeRegion', size=224),
    dict(type='PackRegion'),
]
train_dataloader = dict(batch_size=32, num_workers=4, dataset=dict(data_root='data/coco', pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=4,
    dataset=dict(data_root='data/ade/ADEChallengeData2016', vocabulary='ade20k_ovseg', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
