"""MMSegmentation's Mask2Former and ours are one function, but not bit for bit, which is why there are two.

The suite's decoder attends through PyTorch's fused kernels, with one mask for all heads, and samples deformable
attention without waiting for the device; MMSegmentation's spells both out. The sums are the same, their order is not.
"""

from __future__ import annotations

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_pmp_hosts import mask2former

from denseclip.models.heads import OpenVocabMask2FormerHead
from denseclip.weights.convert import convert


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
    ours.load_state_dict(convert(theirs.state_dict(), 'mmseg_mask2former'))
    maps = [torch.randn(2, channels, 32 >> i, 48 >> i) for i, channels in enumerate(config.in_channels)]
    with torch.no_grad():
        classes, masks = theirs(maps, None)
        layers = ours.decode(ours.pixel_features(maps), all_layers=True).layers
    assert len(classes) == len(layers) == len(decoder) + 1
    for class_logits, mask_logits, layer in zip(classes, masks, layers, strict=True):
        torch.testing.assert_close(layer.class_logits, class_logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(layer.mask_logits, mask_logits, rtol=0, atol=1e-4)
        assert mask_logits.abs().amax() > 0.1
