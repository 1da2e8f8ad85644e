# MaskCLIP and its kin: all but the test set and its words; nothing is trained.
_base_ = ['../models/maskclip_clip-vit-b16.py', '../schedules/evaluation.py', '../default_runtime.py']
