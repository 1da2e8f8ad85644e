# FC-CLIP whose masks are guided by the prompts.
_base_ = './fcclip_vit-xs8_miniworld-96x96.py'
model = dict(type='PMPFCCLIP')
