_base_ = './anovl-tfa_vit-b16-plus_visa-240x240.py'
model = dict(adaptation=dict(kind='linear', steps=5, seed=42))
