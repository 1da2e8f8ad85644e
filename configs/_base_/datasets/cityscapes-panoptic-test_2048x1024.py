# Cityscapes panoptic, 500 validation pictures, 19 classes; files by denseclip convert cityscapes_panoptic.
# Evaluation only, at the pictures' own size of 2048 x 1024.
_base_ = './coco-panoptic-test_1333x800.py'
dataset_type = 'CityscapesPanopticSegments'
data_root = 'data/cityscapes'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=1024, max_long_side=2048),
    # after the resize: the score is taken at the size of the picture
    dict(type='LoadPanopticSegments'),
    dict(type='PackPanopticInputs'),
]
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='gtFine/cityscapes_panoptic_val.json',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/cityscapes_panoptic_val'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
