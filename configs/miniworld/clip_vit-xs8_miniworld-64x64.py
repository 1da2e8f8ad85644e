# A small CLIP from captions alone: 64 x 64 pictures of miniworld, drawn on the fly. Two CPU cores, under an hour.
# The text tower knows CLIP's byte pairs as far as the captions need them.
_base_ = ['../_base_/default_runtime.py', '../_base_/schedules/pretrain_miniworld.py']
max_iters = _base_.max_iters

model = dict(
    type='ContrastiveCLIP',
    words='miniworld',
    architecture=dict(
        embed_dim=128,
        vision_cfg=dict(image_size=64, patch_size=8, width=128, layers=5, head_width=32),
        text_cfg=dict(context_length=40, width=128, heads=4, layers=2),
    ),
    data_preprocessor=dict(
        type='ImgDataPreprocessor',
        mean=[122.7709383, 116.7460125, 104.09373615],
        std=[68.5005327, 66.6321579, 70.32316305],
        bgr_to_rgb=True,
    ),
)
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='pseudo_collate'),
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(type='MiniworldPictures', size=(64, 64), pipeline=[dict(type='PackCaption')]),
)
