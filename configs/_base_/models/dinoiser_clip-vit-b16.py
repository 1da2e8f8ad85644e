# CLIP-DINOiser: ViT-B/16 of LAION-2B, DINO ViT-B/16 and FOUND (DINO ViT-S/8 and its decoder) as teachers.
# The teachers' weights are read by a training only. FOUND's decoder: data/weights/decoder_weights.pt of valeoai/FOUND.
norm = dict(mean=[122.7709383, 116.7460125, 104.09373615], std=[68.5005327, 66.6321579, 70.32316305])
model = dict(
    type='CLIPDINOiser',
    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, pad_val=0, seg_pad_val=255, **norm),
    clip=dict(model='ViT-B-16', pretrained='laion2b_s34b_b88k', preset='dinoiser'),
    head=dict(type='DINOiserHead', embed_dim=256, kernel_size=3),
    feature_layer=-3,
    gamma=0.2,
    delta=0.99,
    background_rule=False,
    correlation_teacher=dict(
        type='DINOTeacher',
        feature='value',
        tower=dict(
            type='DINOTower', model_name='vit_base_patch16_224', pretrained='hf-hub:timm/vit_base_patch16_224.dino'
        ),
    ),
    foreground_teacher=dict(
        type='FOUNDTeacher',
        tower=dict(
            type='DINOTower', model_name='vit_small_patch8_224', pretrained='hf-hub:timm/vit_small_patch8_224.dino'
        ),
        pretrained='checkpoints/found_decoder_weights.pt',
    ),
    test_cfg=dict(mode='slide', crop_size=(448, 448), stride=(224, 224), window_batch=4),
)
