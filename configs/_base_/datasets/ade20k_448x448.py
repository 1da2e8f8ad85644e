# ADE20K: validation (2000 pictures), 150 classes. ADEChallengeData2016.zip unpacked into data/ade.
# Evaluation only, as CLIP-DINOiser takes its numbers: short side 448 (protocol `dinoiser` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'ADE20KDataset'
data_root = 'data/ade/ADEChallengeData2016'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), num_classes=150)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
