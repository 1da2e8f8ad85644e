# ADE20K panoptic: validation (2000 pictures), 150 classes; files: denseclip convert ade20k_panoptic.
# Evaluation only, as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, resized by Pillow.
_base_ = './coco-panoptic-test_1333x800.py'
dataset_type = 'ADE20KPanopticSegments'
data_root = 'data/ade/ADEChallengeData2016'
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ade20k_panoptic_val.json',
        data_prefix=dict(img_path='images/validation', seg_map_path='ade20k_panoptic_val'),
    )
)
test_dataloader = val_dataloader
