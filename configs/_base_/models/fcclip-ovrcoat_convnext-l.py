# OVRCOAT: FC-CLIP that asks CLIP before it calls a mask "void", and whose CLIP learns to name the regions of masks.
_base_ = './fcclip_convnext-l.py'
model = dict(
    void_trust=0.5,
    refinement=dict(weight=0.1, on_probabilities=True),  # of probabilities, as the authors trained
    head=dict(criterion=dict(mask_weight=6.0)),
    test_cfg=dict(overlap_threshold=0.7),
)
