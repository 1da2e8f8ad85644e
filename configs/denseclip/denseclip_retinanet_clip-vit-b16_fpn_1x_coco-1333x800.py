# RetinaNet-DenseCLIP on ViT-B/16 (not in the paper).
_base_ = ['../_base_/models/denseclip_retinanet_clip-vit-b16_fpn.py', '../_base_/runs/1x_coco-boxes.py']
