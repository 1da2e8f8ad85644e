"""Models of every family that exports, small enough to be compared in every format, and what two of them differ in."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.config import inference_config, inference_steps
from denseclip.apis.detector import Detector
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.clip.presets import PRESETS
from denseclip.files.shipped import here_or_shipped
from studies.runtime_comparison.asking import ANOMALY, THING, WORDS

CLIP = 'local-dir:' + str(here_or_shipped('checkpoints/miniworld_clip'))
CONFIGS = MappingProxyType(
    {
        'dinoiser': 'dinoiser/dinoiser_vit-xs8_1k_miniworld-64x64',
        'ovseg': 'ovseg/ovseg_swin-xs_vit-xs8_1500_miniworld-96x96',
        'fcclip': 'miniworld/fcclip_vit-xs8_miniworld-96x96',
        'maft-plus': 'miniworld/maft-plus_vit-xs8_miniworld-96x96',
        'pmp-fcclip': 'miniworld/pmp-fcclip_vit-xs8_miniworld-96x96',
        'pmp-maft-plus': 'miniworld/pmp-maft-plus_vit-xs8_miniworld-96x96',
        'denseclip-rn50': 'denseclip/denseclip_fpn_clip-r50_80k_ade20k-512x512',
        'mask-rcnn': 'denseclip/denseclip_mask-rcnn_efficientnet-lite0_fpn_miniworld-128x128',
    }
)
"""Heads of random numbers, on the bundled CLIP of miniworld where a config names it; pictures in 360 x 480."""
BUNDLED = MappingProxyType({'dinoiser': 'checkpoints/miniworld_dinoiser.safetensors'})
_KINDS = dict(zip(ANOMALY, ('WinCLIP', 'AprilGAN', 'AnoVL'), strict=True))
NAMES = ('bundled', *CONFIGS, *ANOMALY)
"""And every preset."""


def loaded(name: str) -> Any:
    """A model by its name here; what no file brings is random, and always the same."""
    torch.manual_seed(0)
    if name == 'bundled':
        return Inferencer(device='cpu')
    if name in PRESETS and name not in CONFIGS:
        return Inferencer.from_preset(name, WORDS, CLIP, device='cpu')
    if name in ANOMALY:
        layers = {'layers': (1, 2)} if name == 'april-gan' else {}
        model = dict(type=_KINDS[name], clip=dict(model=CLIP), object_name=THING, **layers)
        return AnomalyInferencer(Config(dict(model=model)), device='cpu')
    config = inference_config(str(here_or_shipped(f'configs/{CONFIGS[name]}.py')))
    if name in BUNDLED:
        return Inferencer(config, here_or_shipped(BUNDLED[name]), 'cpu', WORDS)
    return _random(config)


def _random(config: Config) -> Any:
    """A model whose heads are random."""
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmseg'):
        config.model.pop('pretrained', None)
        for part in ('clip', 'text_encoder', 'backbone'):
            if isinstance(config.model.get(part), dict):
                config.model[part].pop('pretrained', None)
        model: Any = MODELS.build(config.model).eval()
    if hasattr(model, 'forget_pretrained'):
        model.forget_pretrained()
    if hasattr(model, 'prompt_guide'):  # gates are shut in the beginning, and the guide has no say
        for layer in model.prompt_guide.layers.values():
            torch.nn.init.normal_(layer.gamma)
    if hasattr(model, 'with_bbox'):
        return _detector(config, model)
    steps = [dict(type='Resize', scale=(480, 360), keep_ratio=True), *inference_steps(config)[1:]]
    found: Any = (MaskInferencer if hasattr(model, 'set_task') else Inferencer).from_model(model, steps)
    return found


def _detector(config: Config, model: Any) -> Detector:
    """A detector comes from a checkpoint alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'random.pth'
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, file)
        return Detector(config, file, 'cpu', score=0.0)


def difference(wanted: Any, found: Any) -> tuple[int, int]:
    """Pixels with another label, and of how many.

    Of an anomaly map places that are a hundredth of its range off; objects that are not found again within a pixel and
    a hundredth of the score.
    """
    if hasattr(wanted, 'label_map'):
        return int((wanted.label_map != found.label_map).sum()), wanted.label_map.size
    if hasattr(wanted, 'anomaly_map'):
        one, other = wanted.anomaly_map, found.anomaly_map
        return int((np.abs(one - other) > 0.01 * max(float(np.ptp(one)), 1e-6)).sum()), one.size
    lost = sum(not _again(wanted, k, found) for k in range(len(wanted.labels)))
    return lost, len(wanted.labels)


def _again(wanted: Any, number: int, found: Any) -> bool:
    near = (np.abs(found.boxes - wanted.boxes[number]) < 1).all(axis=1)
    alike = np.abs(found.scores - wanted.scores[number]) < 0.01
    return bool((near & alike & (found.labels == wanted.labels[number])).any())
