# iSAID from above in MESS's tiles of 1024: val, background and 15 classes, 255 outside of the picture.
# Get it there: mess/prepare_datasets/prepare_isaid.py of github.com/blumenstiel/MESS
# Evaluation only, at short side 1024 (protocol `domains` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'iSAIDDataset'
data_root = 'data/isaid'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 1024), keep_ratio=True), num_classes=16)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images_detectron2/val', seg_map_path='annotations_detectron2/val'),
        seg_map_suffix='.png',
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
