# SAM 3: all but the test set and its words; nothing is trained.
_base_ = ['../models/sam3.py', '../schedules/evaluation.py', '../default_runtime.py']
