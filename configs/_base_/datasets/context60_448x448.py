# PASCAL Context with background, else as context59_448x448.py.
_base_ = './context59_448x448.py'
from denseclip.recipes import eval_steps

dataset_type = 'PascalContextDataset'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), num_classes=60)
val_dataloader = dict(dataset=dict(type=dataset_type, pipeline=test_pipeline))
test_dataloader = val_dataloader
