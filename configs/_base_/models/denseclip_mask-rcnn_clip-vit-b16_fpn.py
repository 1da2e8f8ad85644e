# Mask R-CNN-DenseCLIP on CLIP's ViT-B/16. Ordinary attention over 84 x 84 patches in every block needs more memory than
# a GPU has (the authors never ran it): here eight of twelve blocks attend within 14 x 14 windows, and blocks are
# recomputed in the backward pass. The scores join the stride-16 level, the patches' own grid.
_base_ = './mask-rcnn_clip-r50_fpn.py'
model = dict(
    type='DenseCLIPMaskRCNN',
    vocabulary='coco',
    backbone=dict(
        _delete_=True,
        type='CLIPVisionTransformer',
        model='ViT-B-16',
        pretrained='openai',
        input_resolution=1344,
        strides=(4, 8, 16, 32),
        drop_path_rate=0.1,
        window_size=14,
        global_blocks=(2, 5, 8, 11),
        grad_checkpointing=True,
    ),
    text_encoder=dict(type='CLIPTextContextEncoder', model='ViT-B-16', pretrained='openai', frozen=True),
    prompting='post',
    num_contexts=8,
    context_length=5,
    context_decoder=dict(
        type='ContextDecoder',
        visual_dim=512,
        transformer_width=256,
        transformer_heads=4,
        transformer_layers=3,
        dropout=0.1,
    ),
    tau=0.07,
    score_fusion='concat',
    score_concat_index=2,
    neck=dict(in_channels=[768, 768, 768 + 80, 768]),
    pixel_text_loss=dict(type='BoxPixelTextLoss', loss_weight=1.0),
)
