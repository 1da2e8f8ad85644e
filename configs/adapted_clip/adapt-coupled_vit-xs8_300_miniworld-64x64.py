# Learned tokens in the first blocks of both towers, which are frozen (MaPLe), on miniworld's small CLIP as it is. Its
# text tower has two blocks.
_base_ = './adapt-ft_vit-xs8_300_miniworld-64x64.py'
model = dict(train='coupled', deep_prompts=dict(length=2, depth=2), train_scale=False)
optim_wrapper = dict(optimizer=dict(lr=0.003, weight_decay=0.0))
