# FC-CLIP: all but the test set and its words.
_base_ = [
    '../models/fcclip_convnext-l.py',
    '../datasets/coco-panoptic-lsj_1024x1024.py',
    '../schedules/fcclip_369k.py',
    '../default_runtime.py',
]
