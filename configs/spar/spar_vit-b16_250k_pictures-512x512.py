# SPAR on OpenCLIP's ViT-B/16, tested on VOC20 in one pass. The teacher looks through windows of 224 every 24 pixels,
# some 2,000 of them a picture, so what it says is kept on disk (up to 8 MB a picture).
_base_ = [
    '../_base_/models/inputs_clip.py',
    '../_base_/datasets/pictures_512x512.py',
    '../_base_/datasets/voc20_672x672.py',
    '../_base_/schedules/spar_250k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='SPAR',
    data_preprocessor=dict(size_divisor=16),
    clip=dict(
        model='ViT-B-16',
        pretrained='laion2b_s34b_b88k',
        preset='maskclip',
        read_out=dict(pos_resize='bicubic+0.1'),
    ),
    vocabulary='voc20_sclip',
    templates='openai_imagenet',
    output='cosines',
    scale=40.0,
    window=224,
    stride=24,
    window_batch=64,
    feature_cache='data/spar_features',
    test_cfg=dict(mode='whole'),
)
