# NACLIP under its own protocol: whole pictures.
_base_ = ['../_base_/runs/maskclip.py', '../_base_/datasets/voc20_336x336.py']
model = dict(clip=dict(pretrained='openai', preset='naclip'), vocabulary='voc20_sclip')
