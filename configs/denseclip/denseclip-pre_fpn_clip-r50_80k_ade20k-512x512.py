# Ablation: pre-model prompting. The decoder makes the text encoder's contexts from the picture (equation 4 of the
# paper; not in the authors' code), so 150 prompts are encoded for every picture.
_base_ = './denseclip_fpn_clip-r50_80k_ade20k-512x512.py'
model = dict(prompting='pre', context_decoder=dict(query_dim=512, out_dim=512))
