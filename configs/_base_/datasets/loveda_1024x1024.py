# LoveDA from above: val (1669 pictures), 7 classes; id 0 of the files, no data, is ignored.
# Get it there: tools/dataset_converters/loveda.py of MMSegmentation
# Evaluation only, at short side 1024 (protocol `domains` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'LoveDADataset'
data_root = 'data/loveDA'
test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 1024), keep_ratio=True), num_classes=7)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
