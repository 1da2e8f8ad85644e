# FC-CLIP: a frozen CLIP ConvNeXt-L (LAION-2B, 320 pixels) under Mask2Former's decoders.
norm = dict(mean=[122.7709383, 116.7460125, 104.09373615], std=[68.5005327, 66.6321579, 70.32316305])
model = dict(
    type='FCCLIP',
    data_preprocessor=dict(
        type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size_divisor=32, **norm
    ),
    clip=dict(model='convnext_large_d_320', pretrained='laion2b_s29b_b131k_ft_soup'),
    head=dict(type='OpenVocabMask2FormerHead', num_queries=250),
    train_vocabulary='coco_panoptic_fcclip',
    templates='vild',
    alpha=0.4,
    beta=0.8,
    # The authors merge after resizing in all their tests, as their panoptic and instance results do.
    test_cfg=dict(task='semantic', score_threshold=0.0, overlap_threshold=0.8, merge_first=False),
)
