# PASCAL VOC 2012 with background as FC-CLIP and MAFT+ take their numbers: short side 800, at most 1333, by Pillow.
_base_ = './voc20_1333x800.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalVOCDataset'
test_pipeline = eval_steps(dict(type='PillowResizeShortSide', short_side=800, max_long_side=1333), num_classes=21)
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader
