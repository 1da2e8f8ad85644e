# How masked regions and their nouns are read and measured; a config adds files, pipelines and sizes.
train_dataloader = dict(
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(type='MaskNounPairs', ann_file='mask_pairs/train2017', data_prefix=dict(img_path='train2017')),
)
val_dataloader = dict(
    batch_size=64,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        type='MaskNounPairs', ann_file='mask_pairs/validation', data_prefix=dict(img_path='images/validation')
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='RegionMetric')
test_evaluator = val_evaluator
