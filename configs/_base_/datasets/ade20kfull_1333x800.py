# ADE20K, full annotation: validation (2000 pictures), 847 classes, 16-bit labels; short side 800 as ade20k_1333x800.py.
# Get it there: denseclip convert ade20k_full ADE20K_2021_17_01 data/ade20k_full
_base_ = './ade20k_1333x800.py'
from denseclip.recipes import eval_steps

dataset_type = 'ADE20KFullDataset'
data_root = 'data/ade20k_full'
test_pipeline = eval_steps(
    dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333), num_classes=847, wide=True
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
