# AnoVL with test-time adaptation on miniworld's parts: the linear adapter of the VisA script. The one on the prompts
# (adaptation.kind='text', the MVTec script's) loses here.
_base_ = './anovl-tfa_vit-xs8_miniworld-64x64.py'
model = dict(adaptation=dict(kind='linear', steps=5, seed=111))
