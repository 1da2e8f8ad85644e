_base_ = ['../_base_/runs/sam3.py', '../_base_/datasets/voc20_1008x1008.py']
model = dict(vocabulary='voc20')
