# MAFT+, ConvNeXt-B, with a Mask-Adapter in place of the mean under each mask, and FC-CLIP's ensemble.
# The adapter alone learns.
_base_ = './maft-plus_convnext-b.py'
model = dict(
    adapter=dict(type='MaskAdapter', channels=768, mask_channels=16, num_maps=16, mask_threshold=0.45),
    # Places without a pair as the authors trained; see configs/maft/README.md.
    adapter_training=dict(phase='mixed', iou_threshold=0.7, match_threshold=0.5, whole_where_unmatched=True),
    ensemble=True,
    alpha=0.7,
    beta=1.0,
    test_cfg=dict(score_threshold=0.0),
)
