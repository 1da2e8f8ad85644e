# Semantic FPN on CLIP's ViT-B/16, no text. A small pyramid inside the backbone makes strides 4, 8, 16 and 32.
_base_ = './fpn_clip-r50.py'
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        _delete_=True,
        type='CLIPVisionTransformer',
        model='ViT-B-16',
        pretrained='openai',
        input_resolution=640,
        double_class_embedding=True,  # as the authors' weights were trained
        out_indices=(3, 5, 7, 11),
        drop_path_rate=0.1,
        with_pixel_text=False,
    ),
    neck=dict(in_channels=[768, 768, 768, 768]),
    test_cfg=dict(mode='slide', crop_size=(640, 640), stride=(426, 426)),
)
