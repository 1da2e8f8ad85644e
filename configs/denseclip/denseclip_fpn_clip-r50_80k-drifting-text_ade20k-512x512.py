# The released weights' text encoder is not CLIP's: with rate 0 the polynomial schedule still lifts it to its floor of
# 1e-6. The paper freezes the text encoder (our default); this config trains as the authors' code does.
_base_ = './denseclip_fpn_clip-r50_80k_ade20k-512x512.py'
model = dict(text_encoder=dict(frozen=False))
