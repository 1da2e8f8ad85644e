# CamVid: all but the model.
_base_ = ['../datasets/camvid_320x400.py', '../schedules/adamw_camvid.py', '../default_runtime.py']
# Thin and rare classes count a little more: fourth root of (median frequency / frequency) over the training pictures.
loss = dict(
    type='ClassBalancedCrossEntropyLoss',
    class_weight=[0.72, 0.66, 1.46, 0.62, 1.0, 0.82, 1.4, 1.41, 0.93, 1.63, 1.98],
)
# Crops in batches of four leave poor batch-norm statistics: measure them again on whole pictures at the end.
custom_hooks = [dict(type='PreciseBNHook')]
