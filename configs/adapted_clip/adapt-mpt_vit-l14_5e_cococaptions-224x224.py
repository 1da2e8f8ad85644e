# Mask prompts alone, on OpenAI's tower (OVSeg's "mpt only"): 0.8 M parameters learn.
_base_ = './adapt-ft_vit-l14_5e_cococaptions-224x224.py'
model = dict(train='prompts', prompt_depth=3)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=0.0))
