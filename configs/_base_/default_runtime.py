# What every segmentation run shares: scope, logging, visualization; pictures of one size let cuDNN choose algorithms.
_base_ = './runtime.py'
default_scope = 'mmseg'
env_cfg = dict(cudnn_benchmark=True)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)
log_processor = dict(by_epoch=False)
tta_model = dict(type='DenseSegTTAModel')
