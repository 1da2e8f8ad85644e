# FC-CLIP with a Mask-Adapter in place of the mean under each mask: it learns, all else is frozen but for "void".
_base_ = './fcclip_convnext-l.py'
model = dict(
    adapter=dict(type='MaskAdapter', channels=768, mask_channels=16, num_maps=16, mask_threshold=0.5),
    adapter_training=dict(phase='mixed', iou_threshold=0.7, match_threshold=0.4, detach_true=True, train_void=True),
    alpha=0.7,
    beta=0.9,
)
