"""The suite's side of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.peers.precision import in_precision


def build(request: dict[str, Any]) -> Callable[[], Tensor]:
    """The model of a preset with the row's weights; a call gives the label map (H, W) of the picture."""
    from mmseg.structures import SegDataSample

    from denseclip.clip.presets import preset
    from denseclip.models.builder import build_module
    from denseclip.models.functional.pictures import normalize_pictures
    from studies.peers.weights import ARCH

    name, weights, window = request['preset'], request['weights'], request['window']
    clip = dict(model='ViT-B-16', arch=ARCH, quick_gelu=True, pretrained=weights['clip'], preset=name)
    slide = dict(mode='slide', crop_size=(window[0],) * 2, stride=(window[1],) * 2) if window else dict(mode='whole')
    settings: dict[str, Any] = dict(vocabulary=request['names'], templates=request['template'], test_cfg=slide)
    if name == 'dinoiser':
        settings['init_cfg'] = None
    if name == 'proxyclip':
        settings['affinity'] = dict(
            type='DINOAffinity', dino=dict(model_name='vit_base_patch8_224', pretrained=weights['dino'])
        )
    if name == 'resclip':
        settings['least_score'] = 0.5
    if request['pamr']:
        settings['post'] = dict(pamr=dict(iterations=10, dilations=(8, 16)))
    model = build_module(dict(type=preset(name).type, clip=clip, **settings)).eval()
    if name == 'dinoiser':
        head = torch.load(weights['dinoiser'], weights_only=True)
        model.head.load_state_dict(head)
    picture = torch.from_numpy(np.load(request['picture']))
    inputs = normalize_pictures(picture, model.tower.preprocess)
    model.class_embeddings()
    size = tuple(request['out'])

    def run() -> Tensor:
        sample = SegDataSample(metainfo={'ori_shape': size})
        return model.predict(inputs, [sample])[0].pred_sem_seg.data[0]

    return in_precision(model, request, run)
