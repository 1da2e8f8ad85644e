# AnoVL with test-time adaptation on miniworld's parts; model.adaptation.kind=linear is the adapter of the VisA script.
_base_ = './anovl-tfa_vit-xs8_miniworld-64x64.py'
model = dict(adaptation=dict(kind='text', steps=5, seed=111))
