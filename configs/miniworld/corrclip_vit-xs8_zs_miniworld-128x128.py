# CorrCLIP on miniworld: miniworld's own DINO within superpixels, which nobody has labelled.
_base_ = './proxyclip_vit-xs8_zs_miniworld-128x128.py'
model = dict(
    clip=dict(preset='corrclip'),
    regions=dict(type='ProposedRegions', masks=dict(type='SuperpixelMasks', scales=(100.0,), max_masks=1000)),
)
