# AnoVL without adaptation on miniworld's parts, with miniworld's own CLIP. model.attention=ordinary is plain CLIP.
_base_ = ['../_base_/datasets/miniworld-parts_64x64.py', '../_base_/default_runtime_anomaly.py']
model = dict(type='AnoVL', clip=dict(model='local-dir:checkpoints/miniworld_clip'), views=False, map_size='input')
