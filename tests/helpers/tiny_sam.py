"""Small models of transformers with random weights: SAM 3, SAM 2, EoMT; nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIDE = 56
"""Side of the pictures of the small SAM 3."""
SAM3: dict[str, Any] = dict(
    model_type='sam3',
    vision_config=dict(
        backbone_config=dict(
            model_type='sam3_vit_model',
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=14,
            window_size=2,
            global_attn_indexes=[1],
            pretrain_image_size=SIDE,
        ),
        fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    ),
    text_config=dict(
        model_type='clip_text_model',
        vocab_size=49408,
        hidden_size=8,
        intermediate_size=8,
        projection_dim=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        hidden_act='gelu',
    ),
    geometry_encoder_config=dict(hidden_size=16, num_layers=1, num_attention_heads=2, intermediate_size=16, roi_size=2),
    detr_encoder_config=dict(hidden_size=16, num_layers=1, num_attention_heads=2, intermediate_size=16),
    detr_decoder_config=dict(hidden_size=16, num_layers=2, num_queries=6, num_attention_heads=2, intermediate_size=16),
    mask_decoder_config=dict(hidden_size=16, num_upsampling_stages=3, num_attention_heads=2),
)
SAM2: dict[str, Any] = dict(
    vision_config=dict(
        backbone_config=dict(
            model_type='sam2_hiera_det_model',
            hidden_size=8,
            num_attention_heads=1,
            image_size=[64, 64],
            blocks_per_stage=[1, 1, 1, 1],
            embed_dim_per_stage=[8, 16, 32, 64],
            num_attention_heads_per_stage=[1, 2, 4, 8],
            window_size_per_stage=[4, 4, 4, 4],
            global_attention_blocks=[],
            window_positional_embedding_background_size=[2, 2],
        ),
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    ),
    prompt_encoder_config=dict(hidden_size=16, image_size=64, mask_input_channels=4),
    mask_decoder_config=dict(hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16),
)
TRACKER: dict[str, Any] = dict(
    vision_config={**SAM3['vision_config'], 'model_type': 'sam3_vision_model'},
    prompt_encoder_config=dict(hidden_size=16, image_size=SIDE, mask_input_channels=4),
    mask_decoder_config=dict(hidden_size=16, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16),
)
EOMT: dict[str, Any] = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=32,
    patch_size=8,
    num_blocks=1,
    num_queries=6,
    num_register_tokens=1,
    num_labels=3,
    num_upscale_blocks=1,
)


def lively(model: Any, seed: int = 3) -> Any:
    """The model with weights whose outputs differ from place to place and from word to word."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * 2.0 * (parameter.shape[0] / parameter.numel()) ** 0.5)
            else:
                parameter.copy_(noise * 0.3 + ('norm' in name and name.endswith('weight')))
    return model.eval()


def tiny_sam3(seed: int = 3, **settings: Any) -> Any:
    """A small :class:`SAM3Segmentor` in evaluation mode, the same at every call."""
    from denseclip.models.segmentors import SAM3Segmentor

    model = SAM3Segmentor(SAM3, **settings)
    lively(model.sam.model, seed)
    return model.eval()


def sam3_folder(place: Path, seed: int = 3) -> Path:
    """A folder as transformers writes it, with a small SAM 3 and what it wants of pictures."""
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model

    lively(Sam3Model(Sam3Config.from_dict(SAM3)), seed).save_pretrained(place)
    Sam3ImageProcessor(size=dict(height=SIDE, width=SIDE), mask_size=dict(height=16, width=16)).save_pretrained(place)
    return place


def whole_sam3_folder(place: Path) -> Path:
    """The same as published: the detector, and the tracker, which shares its trunk."""
    from safetensors.torch import save_file
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3TrackerConfig, Sam3TrackerModel

    sizes, tracker_sizes = Sam3Config.from_dict(SAM3), Sam3TrackerConfig(**TRACKER)
    detector, tracker = lively(Sam3Model(sizes)), lively(Sam3TrackerModel(tracker_sizes))
    state = {f'detector_model.{name}': value for name, value in detector.state_dict().items()}
    for name, value in tracker.state_dict().items():
        if name.startswith('vision_encoder.neck.'):
            state[f'tracker_neck.{name.removeprefix("vision_encoder.neck.")}'] = value
        elif not name.startswith('vision_encoder.'):
            state[f'tracker_model.{name}'] = value
    place.mkdir()
    save_file({name: value.contiguous() for name, value in state.items()}, place / 'model.safetensors')
    parts = {'detector_config': sizes.to_dict(), 'tracker_config': tracker_sizes.to_dict()}
    (place / 'config.json').write_text(json.dumps({'model_type': 'sam3_video', **parts}))
    Sam3ImageProcessor(size=dict(height=SIDE, width=SIDE), mask_size=dict(height=16, width=16)).save_pretrained(place)
    return place


def sam2_folder(place: Path) -> Path:
    """The same with a small SAM 2."""
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model

    lively(Sam2Model(Sam2Config(**SAM2))).save_pretrained(place)
    Sam2ImageProcessor(size=dict(height=64, width=64), mask_size=dict(height=16, width=16)).save_pretrained(place)
    return place


def eomt_folder(place: Path) -> Path:
    """The same with a small EoMT."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    lively(EomtForUniversalSegmentation(EomtConfig(**EOMT))).save_pretrained(place)
    EomtImageProcessor(size=dict(shortest_edge=32, longest_edge=32), do_pad=True).save_pretrained(place)
    return place
