# Boxes and masks of COCO under the paper's recipe for Mask R-CNN: all but the model.
_base_ = ['../datasets/coco_instance_1333x800.py', '../schedules/adamw_1x_coco.py', '../default_runtime_det.py']
optim_wrapper = dict(optimizer=dict(lr=2e-4))
