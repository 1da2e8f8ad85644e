# Plain baseline of denseclip_fpn_efficientnet-lite0_camvid-320x400.py: same trunk, neck and head width, no text.
_base_ = ['../_base_/models/fpn_efficientnet-lite0.py', '../_base_/runs/camvid-320x400.py']
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(loss_decode=dict(_delete_=True, **_base_.loss)),
)
