# Pictures without labels, whole or a part of them, no side below 512: how SPAR trains. Any folder of pictures will do:
# train_dataloader.dataset.data_root=FOLDER. The authors take the first 25,000 pictures of SA-1B. Each picture is drawn
# once: what the teacher says of it can be kept.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='DrawnOnce',
        transforms=[
            dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 1.0), keep_ratio=True),
            dict(type='RandomPart', share=(0.4, 1.0), least=512, multiple=16, prob=0.5),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='PictureFolderDataset', data_root='data/sa1b', pipeline=train_pipeline),
)
