"""Trident against its authors' code: windows as one map, SAM's look at the whole picture, labels after its masks."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.presets import preset
from denseclip.core.placement import Placement
from denseclip.models.builder import build_module
from denseclip.models.functional.pictures import normalize_pictures
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.providers import DINOAffinity, SAMAggregation

from .fixtures import Fixture
from .registry import consumes
from .training_free import visual_of

NAMES = {
    r'^image_encoder\.patch_embed\.proj': 'vision_encoder.patch_embed.projection',
    r'^image_encoder\.blocks': 'vision_encoder.layers',
    r'^image_encoder\.neck\.([02])': lambda m: f'vision_encoder.neck.conv{int(m[1]) // 2 + 1}',
    r'^image_encoder\.neck\.([13])': lambda m: f'vision_encoder.neck.layer_norm{int(m[1]) // 2 + 1}',
    r'^image_encoder': 'vision_encoder',
    r'^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix': 'shared_image_embedding.positional_embedding',
    r'^prompt_encoder\.point_embeddings': 'prompt_encoder.point_embed',
    r'mask_downscaling\.([036])': lambda m: f'mask_embed.conv{int(m[1]) // 3 + 1}',
    r'mask_downscaling\.([14])': lambda m: f'mask_embed.layer_norm{int(m[1]) // 3 + 1}',
    r'output_upscaling\.([03])': lambda m: f'upscale_conv{int(m[1]) // 3 + 1}',
    r'output_upscaling\.1': 'upscale_layer_norm',
    r'(iou_prediction_head|mlps\.\d)\.layers\.0': r'\1.proj_in',
    r'(iou_prediction_head|mlps\.\d)\.layers\.1': r'\1.layers.0',
    r'(iou_prediction_head|mlps\.\d)\.layers\.2': r'\1.proj_out',
    r'\.norm_final_attn': '.layer_norm_final_attn',
    r'\.norm(\d)': r'.layer_norm\1',
}
"""Names of segment_anything as transformers has them."""


def sam_of(fixture: Fixture) -> Any:
    """The small SAM, as transformers builds it."""
    from transformers import SamConfig, SamModel

    size = fixture.config['sam']
    sides = {name: size[name] for name in ('image_size', 'patch_size')}
    own = ('hidden_size', 'num_hidden_layers', 'num_attention_heads', 'window_size', 'global_attn_indexes')
    vision = {**sides, **{name: size[name] for name in own}, 'output_channels': size['output_channels']}
    inner = {'hidden_size': size['output_channels'], 'num_pos_feats': size['output_channels'] // 2}
    config = SamConfig(
        vision_config={**vision, 'num_pos_feats': inner['num_pos_feats'], 'mlp_dim': 4 * size['hidden_size']},
        prompt_encoder_config={
            **sides,
            'hidden_size': inner['hidden_size'],
            'mask_input_channels': size['mask_input_channels'],
            'image_embedding_size': size['image_size'] // size['patch_size'],
        },
        mask_decoder_config={
            'hidden_size': inner['hidden_size'],
            'num_attention_heads': 2,
            **{name: size[name] for name in ('mlp_dim', 'iou_head_hidden_dim')},
        },
    )
    state = {}
    for name, value in fixture.state().items():
        name = name.removeprefix('sam.')
        for pattern, new in NAMES.items():
            name = re.sub(pattern, new, name)
        state[name] = value
    model = SamModel(config)
    shared = 'prompt_encoder.shared_embedding.positional_embedding'
    model.load_state_dict({**state, shared: state['shared_image_embedding.positional_embedding']})
    return model


class RecordedTokens(nn.Module):
    """Patch tokens that the authors' run had, window by window."""

    preprocess = PreprocessSpec()
    patch_size = 1

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features, self.place = features, 0

    def forward(self, images: Tensor, tokens: bool = False) -> Any:
        del tokens
        found = self.features[self.place : self.place + len(images)]
        self.place = (self.place + len(images)) % len(self.features)
        return SimpleNamespace(tokens=found)


@consumes('training_free', 'trident')
@torch.no_grad()
def check_trident(fixture: Fixture) -> None:
    config, sam = fixture.config, sam_of(fixture)
    parts = OpenCLIPParts('ViT-B-16', arch=config['clip'], quick_gelu=True)
    parts.clip.model.visual.load_state_dict(visual_of(fixture).state_dict())
    parts.has_weights = True
    names = [[f'{k} {i}' for i, owner in enumerate(config['class_index']) if owner == k] for k in range(5)]
    for name, run in config['runs'].items():
        side, step = (config['crop'],) * 2, (run['stride'],) * 2
        picture = fixture.tensors[f'in.picture_{run["picture"]}_u8'].float() / 255
        image = normalize_pictures(picture, parts.clip.preprocess)
        size = (image.shape[2], image.shape[3])
        like = dict(factor=run['cos_fac'], instead=None if run['refine_neg_cos'] else 0.6)
        model = build_module(
            dict(
                type=preset('trident').type,
                clip=dict(parts=parts, preset='trident'),
                affinity=DINOAffinity(RecordedTokens(fixture.input(f'features_{name}'))),
                sam=SAMAggregation(sam=sam, like=like, columns=run['columns']),
                scale=config['scale'],
                vocabulary=[(first, others) if others else first for first, *others in names],
                post=dict(prob_threshold=run['prob'], background=0),
                test_cfg=dict(mode='slide', crop_size=side, stride=step, window_batch=2, keep_logits=True),
            )
        ).eval()
        model.set_class_embeddings(fixture.input('text'), model.vocabulary)
        dense = model.spliced(image[0], Placement.of({}, size))
        fixture.expect(f'dense_{name}', dense.flatten(2).transpose(1, 2))

        sample = SegDataSample(metainfo={'ori_shape': size})
        found = model.predict(image, [sample])[0].clone()
        if fixture.has(f'out.scores_{name}'):
            fixture.expect(f'scores_{name}', found.seg_logits.data[:, ::4, ::4])
        fixture.expect(f'labels_{name}', found.pred_sem_seg.data[0].byte())
        if run['refine']:
            model.sam = SAMAggregation(sam=sam, like=like, columns=run['columns'], refine=run['refine'])
            refined = model.predict(image, [sample])[0].pred_sem_seg.data[0]
            fixture.expect(f'refined_{name}', refined.byte())
