# ADE20K, full annotation: validation (2000 pictures), 847 classes, 16-bit labels.
# Get it there: denseclip convert ade20k_full ADE20K_2021_17_01 data/ade20k_full
# Evaluation only, at short side 448 (protocol `large` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'ADE20KFullDataset'
data_root = 'data/ade20k_full'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), num_classes=847, wide=True)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SemanticMetric', per_class=False)
test_evaluator = val_evaluator
