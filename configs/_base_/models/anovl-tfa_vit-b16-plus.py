# AnoVL without adaptation, on square tiles: pictures of any aspect ratio keep their proportions.
model = dict(
    type='AnoVL',
    clip=dict(model='ViT-B-16-plus-240', pretrained='laion400m_e32'),
    keep_ratio=True,
    tiles=True,
    views=False,
)
