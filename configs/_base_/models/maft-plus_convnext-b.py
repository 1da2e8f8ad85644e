# MAFT+ on CLIP ConvNeXt-B (LAION-Aesthetics, 320 pixels).
_base_ = './maft-plus_convnext-l.py'
model = dict(clip=dict(model='convnext_base_w_320', pretrained='laion_aesthetic_s13b_b82k_augreg'))
