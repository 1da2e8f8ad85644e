# Miniworld, held-out words:
# denseclip miniworld data/miniworld --layout ade20k --count 20 --val-count 200 --size 128x128
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'MiniworldDataset'
data_root = 'data/miniworld'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 128), keep_ratio=True), num_classes=32)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
