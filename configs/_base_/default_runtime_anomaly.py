# What every run of an anomaly model shares: scope, processes, logging. Nothing is trained, so there is no schedule.
default_scope = 'mmseg'
custom_imports = dict(imports=['denseclip'], allow_failed_imports=False)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
