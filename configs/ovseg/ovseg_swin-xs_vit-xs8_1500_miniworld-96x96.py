# OVSeg in small on miniworld: a narrow Swin from fresh weights learns masks of 25 classes, and is tested on all 32.
# CLIP is that of checkpoints/miniworld_clip; `--cfg-options model.clip.model=local-dir:FOLDER` takes an adapted one.
_base_ = [
    '../_base_/models/inputs_imagenet.py',
    '../_base_/datasets/miniworld-seen_96x96.py',
    '../_base_/schedules/masks_miniworld.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='OVSeg',
    data_preprocessor=dict(size=_base_.crop_size, test_cfg=dict(size_divisor=32)),
    clip=dict(model='local-dir:checkpoints/miniworld_clip'),
    vocabulary='miniworld',
    train_vocabulary='miniworld_seen',
    templates='photo',
    backbone=dict(
        type='SwinTransformer',
        embed_dims=32,
        patch_size=2,
        strides=(2, 2, 2, 2),
        window_size=6,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        type='OpenVocabMaskFormerHead',
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        mask_dim=64,
        dim=64,
        num_queries=24,
        num_heads=4,
        ffn_dim=128,
        decoder_layers=3,
        embed_hidden_dim=128,
    ),
    region_classifier=dict(type='RegionClassifier', threshold=0.4),
    ensemble_weight=0.7,
    test_cfg=dict(mode='whole'),
)
optim_wrapper = dict(constructor='DetectronOptimWrapperConstructor', paramwise_cfg=dict(backbone_lr_mult=1.0))
val_evaluator = dict(_delete_=True, type='SemanticMetric', sets=_base_.sets, per_class=False)
test_evaluator = val_evaluator
