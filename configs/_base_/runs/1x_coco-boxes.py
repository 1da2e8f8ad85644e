# Boxes of COCO under the paper's recipe: all but the model.
_base_ = ['../datasets/coco_detection_1333x800.py', '../schedules/adamw_1x_coco.py', '../default_runtime_det.py']
