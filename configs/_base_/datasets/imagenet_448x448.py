# 1,000 pictures of ImageNet without their labels, drawn once with replacement, as CLIP-DINOiser trains on them.
# Any folder of pictures will do: train_dataloader.dataset.data_root=FOLDER, data_prefix.img_path a folder in it or ''.
crop_size = (448, 448)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(100000, 448), keep_ratio=True),  # the short side becomes 448
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomBrightness', strength=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),  # 63 iterations an epoch, the last one with 8 pictures
    dataset=dict(
        type='PictureFolderDataset',
        data_root='data/imagenet',
        data_prefix=dict(img_path='train'),
        sample=1000,
        sample_seed=0,
        pipeline=train_pipeline,
    ),
)
