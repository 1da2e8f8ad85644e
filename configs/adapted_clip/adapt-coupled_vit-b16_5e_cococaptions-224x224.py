# Learned tokens in the first nine blocks of both of OpenAI's towers, which are frozen: 3.6 M parameters learn. Length,
# depth and optimizer (SGD) are MaPLe's, the pairs and the schedule OVSeg's.
_base_ = './adapt-ft_vit-b16_5e_cococaptions-224x224.py'
model = dict(train='coupled', deep_prompts=dict(length=2, depth=9), train_scale=False)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.0035, momentum=0.9, weight_decay=5e-4))
