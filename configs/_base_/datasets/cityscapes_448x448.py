# Cityscapes: val (500 pictures), 19 classes.
# Get it there: denseclip convert cityscapes CITYSCAPES data/cityscapes --splits val
# Evaluation only, as CLIP-DINOiser takes its numbers: short side 448 (protocol `dinoiser` of docs/protocols.md).
_base_ = './label_maps.py'
from denseclip.recipes import eval_steps

dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes'

test_pipeline = eval_steps(dict(type='Resize', scale=(2048, 448), keep_ratio=True), 19)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
