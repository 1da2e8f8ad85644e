_base_ = './anovl-tfa_vit-b16-plus_mvtec-240x240.py'
model = dict(adaptation=dict(kind='text', steps=5, seed=111))
