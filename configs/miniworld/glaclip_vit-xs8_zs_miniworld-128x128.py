# GLA-CLIP on miniworld: ProxyCLIP with miniworld's own DINO, over all windows.
_base_ = './proxyclip_vit-xs8_zs_miniworld-128x128.py'
model = dict(clip=dict(preset='glaclip'))
