# OVSeg's released recipe: mask prompts on top of a tower that was fine-tuned before and stays as it is. The fine-tuned
# tower is what tools/export_pretrained.py makes of the last checkpoint of adapt-ft_vit-l14_5e_cococaptions-224x224.
_base_ = './adapt-ft_vit-l14_5e_cococaptions-224x224.py'
model = dict(
    clip=dict(
        _delete_=True, model='local-dir:work_dirs/adapt-ft_vit-l14_5e_cococaptions-224x224/clip', pretrained=None
    ),
    train='prompts',
    prompt_depth=3,
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=0.0))
