# OVSeg's fine-tuning of CLIP on masked regions: all of the image tower learns, masks are seen as painted pixels only.
_base_ = [
    '../_base_/datasets/coco-captions-pairs_224x224.py',
    '../_base_/schedules/adapt_clip_5e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='MaskAdaptedCLIP',
    clip=dict(model='ViT-L-14', pretrained='openai'),
    train='image',
    vocabulary='ade20k_ovseg',
)
