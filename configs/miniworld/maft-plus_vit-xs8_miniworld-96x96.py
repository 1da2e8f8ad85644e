# MAFT+: FC-CLIP whose CLIP learns with the masks.
_base_ = './fcclip_vit-xs8_miniworld-96x96.py'
model = dict(type='MAFTPlus', transfer=dict(variant='panoptic', num_heads=4))
