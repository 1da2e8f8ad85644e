# ADE20K, full annotation, as OVSeg takes its numbers: short side 512, at most 2048, resized by Pillow.
_base_ = './ade20k-ovseg_512x512.py'
from denseclip.recipes import eval_steps

dataset_type = 'ADE20KFullDataset'
data_root = 'data/ade20k_full'
test_pipeline = eval_steps(
    dict(type='PillowResizeShortSide', short_side=512, max_long_side=2048), num_classes=847, wide=True
)
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
