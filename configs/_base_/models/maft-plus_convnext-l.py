# MAFT+: FC-CLIP's mask generator; CLIP ConvNeXt-L (LAION-2B, 320 pixels) is fine-tuned, its text looks at the picture.
norm = dict(mean=[122.7709383, 116.7460125, 104.09373615], std=[68.5005327, 66.6321579, 70.32316305])
model = dict(
    type='MAFTPlus',
    data_preprocessor=dict(
        type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size_divisor=32, **norm
    ),
    clip=dict(model='convnext_large_d_320', pretrained='laion2b_s29b_b131k_ft_soup'),
    head=dict(type='OpenVocabMask2FormerHead', num_queries=100),
    transfer=dict(type='ContentDependentTransfer', num_heads=8, variant='semantic'),
    scrambled_pixels=True,  # as the released weights were trained; see configs/maft/README.md
    mask_aware_weight=1.0,
    compensation_weight=0.1,
    drop_path=True,
    train_vocabulary='coco_stuff_fcclip',
    templates='vild',
    test_cfg=dict(task='semantic', score_threshold=0.2, overlap_threshold=0.7),
)
