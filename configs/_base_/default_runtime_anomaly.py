# What every run of an anomaly model shares. Nothing is trained, so there is no schedule.
_base_ = './runtime.py'
default_scope = 'mmseg'
log_processor = dict(by_epoch=False)
