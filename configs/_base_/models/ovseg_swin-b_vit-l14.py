# OVSeg, large: masks of a MaskFormer on Swin-B, classified by it and by a ViT-L/14 of CLIP that sees them cut out.
# The released model has a mask-adapted CLIP with its mask prompts (configs/adapted_clip); its checkpoint brings it.
_base_ = './inputs_imagenet.py'
model = dict(
    type='OVSeg',
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    clip=dict(model='ViT-L-14', pretrained='openai'),
    train_vocabulary='coco_stuff',
    templates='vild',
    backbone=dict(
        type='SwinTransformer',
        pretrain_img_size=384,
        embed_dims=128,
        patch_size=4,
        window_size=12,
        mlp_ratio=4,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        strides=(4, 2, 2, 2),
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        patch_norm=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
            'swin_base_patch4_window12_384_22k_20220317-e5c09f74.pth',
        ),
    ),
    decode_head=dict(
        type='OpenVocabMaskFormerHead',
        in_channels=[128, 256, 512, 1024],
        num_queries=100,
        decoder_layers=6,
        dropout=0.1,
        criterion=dict(class_weight=1.0, mask_weight=20.0, dice_weight=1.0, no_object_weight=0.1),
    ),
    region_classifier=dict(type='RegionClassifier', threshold=0.4, fill='mean', prompt_depth=3),
    ensemble_weight=0.7,
    test_cfg=dict(mode='whole'),
)
