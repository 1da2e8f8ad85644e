# Regions mined from COCO captions (one caption a picture) for training, ADE20K's true regions for measuring.
# tools/mine_mask_pairs.py writes both folders of pairs; see docs/adapting_clip.md.
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
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='MaskNounPairs',
        data_root='data/coco',
        ann_file='mask_pairs/train2017',
        data_prefix=dict(img_path='train2017'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='MaskNounPairs',
        data_root='data/ade/ADEChallengeData2016',
        ann_file='mask_pairs/validation',
        data_prefix=dict(img_path='images/validation'),
        vocabulary='ade20k_ovseg',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='RegionMetric')
test_evaluator = val_evaluator
