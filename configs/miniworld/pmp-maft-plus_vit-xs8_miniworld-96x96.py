# MAFT+ whose masks are guided by the prompts.
_base_ = './maft-plus_vit-xs8_miniworld-96x96.py'
model = dict(type='PMPMAFTPlus')
