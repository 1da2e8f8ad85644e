# SC-CLIP on miniworld: the middle blocks of a CLIP of five instead of twelve.
_base_ = './maskclip_vit-xs8_zs_miniworld-128x128.py'
model = dict(clip=dict(preset='scclip', read_out=dict(middle=dict(alike=3, after=1, summed=(1, 2, 3)))))
