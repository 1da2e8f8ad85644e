# What every detection run shares: scope, logging, visualization.
_base_ = './runtime.py'
default_scope = 'mmdet'
sync_bn = 'torch'  # in distributed runs only
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
