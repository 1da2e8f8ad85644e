# SAM 3 as published: the sizes are transformers' own; weights are the folder of facebook/sam3, given as a checkpoint.
model = dict(type='SAM3Segmentor', threshold=0.3, test_cfg=dict(mode='whole', task='semantic'))
