# MaskCLIP as it is read inside CLIP-DINOiser: value path of the last block with residual and FFN, 80 sentences per
# class, softmax over classes at 100, windows averaged as probabilities (all of it the preset `maskclip`).
model = dict(
    type='OpenVocabularySegmentor',
    clip=dict(model='ViT-B-16', pretrained='laion2b_s34b_b88k', preset='maskclip'),
    test_cfg=dict(mode='whole', window_batch=8),
)
