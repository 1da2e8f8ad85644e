# Mask R-CNN-DenseCLIP of the paper, ResNet-101 (text space of 512 dimensions).
_base_ = ['../_base_/models/denseclip_mask-rcnn_clip-r50_fpn.py', '../_base_/runs/1x_coco-masks.py']
model = dict(backbone=dict(model='RN101'), text_encoder=dict(model='RN101'), context_decoder=dict(visual_dim=512))
