# MaskCLIP as its paper's code runs it: whole pictures, ImageNet normalisation, LayerNorm with eps 1e-6, erf-GELU.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc20-test_512x512.py']
model = dict(
    clip=dict(pretrained='openai', preset='maskclip_orig', norm_eps=1e-6, quick_gelu=False),
    vocabulary='voc20_maskclip',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        bgr_to_rgb=True,
        pad_val=0,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
)
