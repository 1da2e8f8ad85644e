# ADE20K under the paper's recipe: all but the model.
_base_ = ['../datasets/ade20k_512x512.py', '../schedules/adamw_80k.py', '../default_runtime.py']
