# COCO-Object: val2017 of COCO (5000 pictures), 80 things and background; short side 448 as cocostuff_448x448.py.
# Get it there: denseclip convert coco_object COCO data/coco_object
_base_ = './cocostuff_448x448.py'
from denseclip.recipes import eval_steps

dataset_type = 'COCOObjectDataset'
data_root = 'data/coco_object'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), num_classes=81)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
