# FC-CLIP on the small CLIP of miniworld: a frozen ViT with patches of 8 pixels, a pyramid, narrow decoders.
_base_ = './inputs_clip.py'
model = dict(
    type='FCCLIP',
    data_preprocessor=dict(size=(96, 96)),
    clip=dict(
        model='local-dir:checkpoints/miniworld_clip', read_out=dict(attention='value', residual=False, ffn=False)
    ),
    head=dict(
        dim=64,
        num_queries=24,
        num_layers=6,
        num_heads=4,
        ffn_dim=128,
        pixel_decoder=dict(num_layers=2, ffn_dim=128),
        criterion=dict(num_points=1024),
    ),
    vocabulary='miniworld',
    train_vocabulary='miniworld_seen',
    templates='vild',
    test_cfg=dict(task='panoptic', score_threshold=0.2, overlap_threshold=0.7),
)
