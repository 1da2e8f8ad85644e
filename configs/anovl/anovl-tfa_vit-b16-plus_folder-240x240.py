# What `denseclip anomaly` uses.
_base_ = [
    '../_base_/models/anovl-tfa_vit-b16-plus.py',
    '../_base_/datasets/folder_240x240.py',
    '../_base_/default_runtime_anomaly.py',
]
