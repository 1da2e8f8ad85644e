# Zero-shot: five classes have no labels. Their pixels get the teacher's labels, from iteration 2000 on the student's
# own. The number of iterations is ours.
_base_ = './maskclip-plus_deeplabv2-r101_r50_2k_voc20-512x512.py'
from denseclip.recipes import crop_train_steps

max_iters = 20000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=max_iters)]
unseen = [15, 16, 17, 18, 19]  # potted plant, sheep, sofa, train, tv monitor
model = dict(unseen=unseen)
custom_hooks = [dict(type='SelfTrainingHook', begin=2000)]
train_pipeline = crop_train_steps(
    20, (2048, 512), (512, 512), cat_max_ratio=1.0, labels=[dict(type='SuppressLabels', labels=unseen)]
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
