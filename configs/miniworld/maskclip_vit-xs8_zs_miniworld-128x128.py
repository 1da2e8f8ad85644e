# MaskCLIP with miniworld's own CLIP on words that its captions never put together.
_base_ = [
    '../_base_/datasets/miniworld_128x128.py',
    '../_base_/schedules/evaluation.py',
    '../_base_/default_runtime.py',
]
model = dict(
    type='OpenVocabularySegmentor',
    clip=dict(model='local-dir:checkpoints/miniworld_clip', preset='maskclip'),
    vocabulary='miniworld',
    templates='photo',
    test_cfg=dict(mode='whole'),
)
