# RetinaNet-DenseCLIP on CLIP's ViT-B/16, whose blocks mostly attend within windows: ordinary attention over 84 x 84
# patches needs more memory than a GPU has (the authors never ran it). Scores join stride 16, the patches' own grid.
# RetinaNet starts at stride 8, so the large map of stride 4 is never made.
_base_ = './retinanet_clip-r50_fpn.py'
from denseclip.recipes import text_guidance, windowed_vit

model = dict(
    type='DenseCLIPRetinaNet',
    vocabulary='coco',
    backbone=windowed_vit(strides=(8, 16, 32)),
    **text_guidance('ViT-B-16', width=512),
    score_concat_index=1,
    neck=dict(in_channels=[768, 768 + 80, 768], start_level=0),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
