# MMSegmentation's Mask2Former on a ResNet-50, its masks guided by prompts in the words of a CLIP.
_base_ = './inputs_imagenet.py'
width, heads = 256, 8
attention = dict(embed_dims=width, num_heads=heads, attn_drop=0.0, proj_drop=0.0, dropout_layer=None, batch_first=True)
relu = dict(type='ReLU', inplace=True)
model = dict(
    type='PMPMask2Former',
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    clip=dict(model='ViT-B-16', pretrained='openai'),
    templates='vild',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    decode_head=dict(
        type='GuidedMask2FormerHead',
        in_channels=[256, 512, 1024, 2048],
        strides=[4, 8, 16, 32],
        feat_channels=width,
        out_channels=width,
        num_classes=150,
        num_queries=100,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        embed_dims=width, num_heads=heads, num_levels=3, num_points=4, dropout=0.0, batch_first=True
                    ),
                    ffn_cfg=dict(embed_dims=width, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=relu),
                ),
            ),
            positional_encoding=dict(num_feats=width // 2, normalize=True),
        ),
        positional_encoding=dict(num_feats=width // 2, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=width, feedforward_channels=2048, num_fcs=2, ffn_drop=0.0, act_cfg=relu),
            ),
        ),
        loss_cls=dict(type='mmdet.CrossEntropyLoss', loss_weight=2.0, class_weight=[1.0] * 150 + [0.1]),
        loss_mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0),
        loss_dice=dict(type='mmdet.DiceLoss', activate=True, naive_dice=True, eps=1.0, loss_weight=5.0),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type='mmdet.HungarianAssigner',
                match_costs=[
                    dict(type='mmdet.ClassificationCost', weight=2.0),
                    dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                    dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
                ],
            ),
            sampler=dict(type='mmdet.MaskPseudoSampler'),
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
