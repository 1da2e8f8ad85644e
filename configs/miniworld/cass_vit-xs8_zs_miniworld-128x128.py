# CASS on miniworld: keys of each head completed by those of miniworld's own DINO.
_base_ = './maskclip_vit-xs8_zs_miniworld-128x128.py'
model = dict(
    clip=dict(preset='cass'),
    affinity=dict(
        type='SpectralAffinity',
        dino=dict(model_name='local-dir:checkpoints/miniworld_dino', pretrained='local-dir:checkpoints/miniworld_dino'),
    ),
)
