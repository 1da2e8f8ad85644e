# PASCAL VOC 2012 with background (1449 pictures). The devkit (VOCtrainval_11-May-2012.tar) unpacked into data.
# Evaluation only, as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, resized by Pillow.
dataset_type = 'PascalVOCDataset'
data_root = 'data/VOCdevkit/VOC2012'

test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333),
    # after the resize: the score is taken at the size of the label map
    dict(type='LoadAnnotations'),
    dict(type='CheckLabelRange', num_classes=21),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='SemanticMetric')
test_evaluator = val_evaluator
