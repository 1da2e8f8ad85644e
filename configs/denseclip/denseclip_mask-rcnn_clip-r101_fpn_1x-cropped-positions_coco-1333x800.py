# The authors' code takes the top-left part of the attention pool's position grid: use this for their released weights.
_base_ = './denseclip_mask-rcnn_clip-r101_fpn_1x_coco-1333x800.py'
model = dict(backbone=dict(pos_resize='crop'))
