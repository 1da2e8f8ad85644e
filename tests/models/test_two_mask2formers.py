"""MMSegmentation's Mask2Former and ours are one function, but not bit for bit, which is why there are two.

The suite's decoder attends through PyTorch's fused kernels, with one mask for all heads, and samples deformable
attention without waiting for the device; MMSegmentation's spells both out. The sums are the same, their order is not.
"""

from __future__ import annotations

import re

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_pmp_hosts import mask2former

from denseclip.models.heads import OpenVocabMask2FormerHead

_PIXELS, _LAYERS = r'pixel_decoder\.', r'transformer_decoder\.layers\.(\d+)\.'
NAMES = (
    (rf'{_PIXELS}input_convs\.(\d+)\.conv\.', r'pixel_decoder.input_proj.\1.0.'),
    (rf'{_PIXELS}input_convs\.(\d+)\.gn\.', r'pixel_decoder.input_proj.\1.1.'),
    (rf'{_PIXELS}level_encoding\.weight', 'pixel_decoder.level_embed'),
    (rf'{_PIXELS}encoder\.layers\.(\d+)\.ffn\.layers\.0\.0\.', r'pixel_decoder.layers.\1.linear1.'),
    (rf'{_PIXELS}encoder\.layers\.(\d+)\.ffn\.layers\.1\.', r'pixel_decoder.layers.\1.linear2.'),
    (rf'{_PIXELS}encoder\.layers\.(\d+)\.norms\.0\.', r'pixel_decoder.layers.\1.norm1.'),
    (rf'{_PIXELS}encoder\.layers\.(\d+)\.norms\.1\.', r'pixel_decoder.layers.\1.norm2.'),
    (rf'{_PIXELS}encoder\.layers\.', 'pixel_decoder.layers.'),
    (rf'{_PIXELS}lateral_convs\.(\d+)\.conv\.', r'pixel_decoder.laterals.\1.0.'),
    (rf'{_PIXELS}lateral_convs\.(\d+)\.gn\.', r'pixel_decoder.laterals.\1.1.'),
    (rf'{_PIXELS}output_convs\.(\d+)\.conv\.', r'pixel_decoder.outputs.\1.0.'),
    (rf'{_PIXELS}output_convs\.(\d+)\.gn\.', r'pixel_decoder.outputs.\1.1.'),
    (rf'{_PIXELS}mask_feature\.', 'pixel_decoder.mask_features.'),
    (rf'{_LAYERS}cross_attn\.', r'decoder.layers.\1.image_attention.'),
    (rf'{_LAYERS}self_attn\.', r'decoder.layers.\1.self_attention.'),
    (rf'{_LAYERS}norms\.0\.', r'decoder.layers.\1.image_attention.norm.'),
    (rf'{_LAYERS}norms\.1\.', r'decoder.layers.\1.self_attention.norm.'),
    (rf'{_LAYERS}norms\.2\.', r'decoder.layers.\1.feed_forward.norm.'),
    (rf'{_LAYERS}ffn\.layers\.0\.0\.', r'decoder.layers.\1.feed_forward.linear1.'),
    (rf'{_LAYERS}ffn\.layers\.1\.', r'decoder.layers.\1.feed_forward.linear2.'),
    (r'transformer_decoder\.post_norm\.', 'decoder.norm.'),
    (r'decoder_input_projs\.', 'decoder.input_proj.'),
    (r'(query_embed|query_feat|level_embed)\.', r'decoder.\1.'),
    (r'cls_embed\.', 'decoder.classifier.'),
    (r'mask_embed\.0\.', 'decoder.mask_embed.layers.0.'),
    (r'mask_embed\.2\.', 'decoder.mask_embed.layers.1.'),
    (r'mask_embed\.4\.', 'decoder.mask_embed.layers.2.'),
)


def our_name(key: str) -> str:
    return next(re.sub(f'^{theirs}', ours, key) for theirs, ours in NAMES if re.match(theirs, key))


def test_every_layer_says_the_same_within_rounding() -> None:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config(mask2former()).decode_head
    config.type = 'mmseg.Mask2FormerHead'
    theirs = MODELS.build(config).eval()
    theirs.init_weights()
    queries, width = theirs.query_embed.weight.shape
    pixels, decoder = theirs.pixel_decoder.encoder.layers, theirs.transformer_decoder.layers
    ours = OpenVocabMask2FormerHead(
        config.in_channels,
        num_classes=theirs.num_classes,
        dim=width,
        num_queries=queries,
        num_layers=len(decoder),
        num_heads=theirs.num_heads,
        ffn_dim=decoder[0].ffn.feedforward_channels,
        pixel_decoder=dict(
            num_layers=len(pixels),
            ffn_dim=pixels[0].ffn.feedforward_channels,
            norm_groups=theirs.pixel_decoder.input_convs[0].gn.num_groups,
        ),
    ).eval()
    ours.load_state_dict({our_name(key): value for key, value in theirs.state_dict().items()})
    maps = [torch.randn(2, channels, 32 >> i, 48 >> i) for i, channels in enumerate(config.in_channels)]
    with torch.no_grad():
        classes, masks = theirs(maps, None)
        layers = ours.decode(ours.pixel_features(maps), all_layers=True).layers
    assert len(classes) == len(layers) == len(decoder) + 1
    for class_logits, mask_logits, layer in zip(classes, masks, layers, strict=True):
        torch.testing.assert_close(layer.class_logits, class_logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(layer.mask_logits, mask_logits, rtol=0, atol=1e-4)
        assert mask_logits.abs().amax() > 0.1
