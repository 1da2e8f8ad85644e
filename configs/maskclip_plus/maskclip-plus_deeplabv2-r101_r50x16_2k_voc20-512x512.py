_base_ = './maskclip-plus_deeplabv2-r101_r50_2k_voc20-512x512.py'
model = dict(decode_head=dict(embed_dim=768), teacher=dict(clip=dict(model='RN50x16')))
