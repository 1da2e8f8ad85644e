"""Make any config of the repository small enough to train one step on a CPU, without changing what it is.

Depth, picture sizes and batch are cut; widths, heads, losses, pipelines and schedules stay, but for the width inside a
text tower, which nothing else of a model sees. A config of a new kind needs no edit here unless one of its modules is
slow at full depth: then add its type to ``TINY``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mmdet.models.backbones
import mmseg.models.backbones
import pytest
from generated import layout_of, write_dataset
from mmengine.config import Config, ConfigDict
from tiny_sam import SAM3

CONFIGS = Path(__file__).parents[2] / 'configs'
SIDE = 64
"""Shorter side of a training crop after cutting."""

TINY: dict[str, dict[str, Any]] = {
    'CLIPResNet': dict(layers=(1, 1, 1, 1), input_resolution=2 * SIDE),  # detectors crop from this grid
    'CLIPVisionTransformer': dict(layers=4, out_indices=(0, 1, 2, 3), input_resolution=SIDE),
    'CLIPTextContextEncoder': dict(transformer_layers=1),
    'ContextDecoder': dict(transformer_layers=1),
    'DINOTower': dict(depth=2, embed_dim=48, num_heads=3, img_size=SIDE),
    'MaskAdapter': dict(channels=16, mask_channels=8, num_maps=2),
    'MaskCLIPPlusHead': dict(embed_dim=32),  # that of TINY_CLIP
    'OpenVocabMask2FormerHead': dict(
        dim=32,
        num_queries=16,
        num_layers=3,
        ffn_dim=32,
        pixel_decoder=dict(num_layers=1),
        criterion=dict(num_points=64),
    ),
    'OpenVocabMaskFormerHead': dict(num_queries=10, decoder_layers=2),
    'SAM3Segmentor': dict(sam=SAM3),
    'SwinTransformer': dict(depths=(1, 1, 1, 1)),
}
"""Arguments that make a module of this type shallow at unchanged widths."""

TINY_CLIP: dict[str, Any] = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=SIDE, layers=8, width=32, head_width=16),
    text_cfg=dict(width=16, heads=2, layers=1),
)
"""Architecture that replaces the one of an open-vocabulary model's ``clip``; deep enough for every read-out."""

TINY_CLIP_RESNET: dict[str, Any] = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=SIDE, layers=[1, 1, 1, 1], width=16),
    text_cfg=dict(width=16, heads=2, layers=1),
)

TINY_CLIP_CONVNEXT: dict[str, Any] = dict(
    embed_dim=32,
    vision_cfg=dict(timm_model_name='test_convnext2', image_size=SIDE),
    text_cfg=dict(width=16, heads=2, layers=1),
)

MOST_BOXES: dict[str, int] = dict(nms_pre=32, max_per_img=6, num=8)
"""Boxes that a detector looks at: before its suppression, after it, and in a sample of the loss."""

_KEYS_OF_SIZES = ('crop_size', 'scale', 'stride', 'size')


def all_configs(*, pretraining: bool = False) -> list[Path]:
    """All runnable configs, relative to ``configs/``: those with a test set, or those that pretrain and have none."""
    files = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
    return [p.relative_to(CONFIGS) for p in files if _pretrains(p) == pretraining]


def _pretrains(path: Path) -> bool:
    """Whether a config, or the config that it continues, has a schedule of pretraining."""
    text = path.read_text('utf-8')
    base = re.search(r"^_base_ = '(\./[^']+)'", text, re.MULTILINE)
    return 'schedules/pretrain' in text or (base is not None and _pretrains(path.parent / base[1]))


def tiny_config(path: Path, data: Path) -> Config:
    """A config cut down to one training step on generated data.

    Args:
        path: Config, relative to ``configs/``.
        data: Folder for generated data; sets that lie there already are used again.

    Returns:
        The config: no downloads, no workers, no checkpoints, one iteration and one validation.
    """
    config = Config.fromfile(CONFIGS / path)
    forget_weights(config)
    factor = SIDE / min(crop_size(config))
    for part in (config.model, *pipelines(config)):
        cut_sizes(part, factor)
    cut_depth(config.model)
    cut_text(config.model)
    cut_boxes(config.model)
    if is_anomaly(config):
        cut_anomaly(config)
    if is_region(config):
        cut_regions(config)
    if 'deep_prompts' in config.model:  # no deeper than the text tower
        config.model.deep_prompts.depth = TINY_CLIP['text_cfg']['layers']
    place_data(config, data)
    cut_run(config)
    return config


def dicts(node: Any) -> Iterator[Any]:
    """All dicts in a config, outermost first."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from dicts(child)


def forget_weights(config: Config) -> None:
    """Set every reference to a file of weights to ``None``."""
    for part in dicts(config.model):
        if part.get('pretrained'):
            part['pretrained'] = None
        if (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            part['init_cfg'] = None
    config.load_from = None


def trains(config: Config) -> bool:
    """Whether the config has a training set; otherwise it can only be tested."""
    return config.get('train_dataloader') is not None


def crop_size(config: Config) -> tuple[int, int]:
    """Height and width that the config trains at; of a detector, what its pictures are resized to.

    Without a training set: the window, or what pictures are resized to.
    """
    if is_anomaly(config):
        side = anomaly_resize(config)['size']
        return (side, side) if isinstance(side, int) else tuple(side)
    if is_region(config):
        return (region_side(config),) * 2
    if not trains(config):
        window = config.model.test_cfg.get('crop_size')
        steps = list(dicts(config.test_dataloader.dataset))
        sides = [min(p['scale']) for p in steps if p.get('type') == 'Resize']
        sides += [p['short_side'] for p in steps if p.get('type') == 'PillowResizeShortSide']
        return tuple(window or (sides[0],) * 2)
    for part in dicts(config.train_dataloader.dataset):
        if part.get('type') == 'RandomCrop':
            return tuple(part['crop_size'])
        if part.get('type') == 'RandomPart':
            return (part['least'],) * 2
    if is_mask_model(config):
        resize = next(p for p in dicts(config.test_dataloader.dataset) if p.get('type') == 'PillowResizeShortSide')
        return resize['short_side'], resize['max_long_side']
    if config.default_scope == 'mmdet':
        resize = next(p for p in dicts(config.train_dataloader.dataset) if p.get('type') == 'Resize')
        return tuple(resize['scale'][::-1])
    return tuple(config.model.data_preprocessor.size)


def is_anomaly(config: Config) -> bool:
    """Whether the config evaluates an anomaly model."""
    return config.get('test_evaluator', {}).get('type') == 'AnomalyMetric'


def is_mask_model(config: Config) -> bool:
    """Whether the config trains FC-CLIP or MAFT+: whole pictures or large crops, tested at another size."""
    return config.model.type.removeprefix('PMP') in ('FCCLIP', 'MAFTPlus')


def is_region(config: Config) -> bool:
    """Whether the config adapts CLIP to regions and classifies them."""
    return config.model.type == 'MaskAdaptedCLIP'


def region_side(config: Config) -> int:
    """Side of the squares that regions are resized to."""
    sides = {
        p['size'] for p in dicts(pipelines(config)) if str(p.get('type')).endswith(('ResizeRegion', 'ResizedRegion'))
    }
    assert len(sides) == 1, sides
    return sides.pop()


def cut_regions(config: Config) -> None:
    """Squares of the tiny CLIP's size."""
    for part in dicts(pipelines(config)):
        if str(part.get('type')).endswith(('ResizeRegion', 'ResizedRegion')):
            part['size'] = SIDE


def anomaly_resize(config: Config) -> ConfigDict:
    """The step of an anomaly pipeline that brings pictures to the network's size."""
    return next(p for p in dicts(config.test_dataloader.dataset) if p.get('type') == 'ResizePicture')


def cut_anomaly(config: Config) -> None:
    """A tiny CLIP, its layers and its size, in place of an anomaly model's."""
    config.model.clip = dict(config=TINY_CLIP)
    if 'image_size' in config.model:
        config.model.image_size = SIDE
    if config.model.type == 'AprilGAN':
        config.model.layers = (2, 4, 6, 8)
    if config.model.type == 'AnoVL':
        config.model.dual_layers = 6
    for loader in (config.val_dataloader, config.test_dataloader):
        for part in dicts(loader.dataset):
            if part.get('type') == 'ResizePicture' and isinstance(part['size'], int):
                part['size'] = SIDE


def splits(config: Config) -> list[str]:
    """Splits that the config has a data set for."""
    return [split for split in ('train', 'val', 'test') if config.get(f'{split}_dataloader') is not None]


def dataloaders(config: Config) -> list[tuple[ConfigDict, Any]]:
    """The data loader of every split, with its evaluator or None."""
    return [(config[f'{split}_dataloader'], config.get(f'{split}_evaluator')) for split in splits(config)]


def pipelines(config: Config) -> list[Any]:
    """All pipelines of a config."""
    found = [p['pipeline'] for loader, _ in dataloaders(config) for p in dicts(loader.dataset) if 'pipeline' in p]
    return [*found, config.get('tta_pipeline', [])]


def cut_sizes(node: Any, factor: float) -> None:
    """Multiply all sizes in pixels."""
    for part in dicts(node):
        for key in _KEYS_OF_SIZES:
            value = part.get(key)
            if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, int) for v in value):
                part[key] = tuple(math.ceil(v * factor) for v in value)
        if part.get('type') == 'RandomPart':
            part['least'] = SIDE
        for key in ('short_side', 'max_long_side'):
            if part.get(key) is not None:
                sides = [part[key]] if isinstance(part[key], int) else part[key]
                cut = [math.ceil(v * factor) for v in sides]
                part[key] = cut[0] if isinstance(part[key], int) else cut


def cut_depth(model: ConfigDict) -> None:
    """Make every module of a known type shallow; one sentence per class name instead of fourteen."""
    if model.get('templates') == 'vild':
        model.templates = 'photo'
    for part in dicts(model):
        if 'depth' in part:  # ResNets: 101 has the widths of 50, see `shallow_resnets`
            part['depth'] = min(part['depth'], 50)
        part.update(TINY.get(part.get('type'), {}))
        if part.get('type') == 'CLIPVisionTransformer' and 'window_size' in part:  # a detector's ViT
            part.update(out_indices=tuple(range(len(part['strides']))), global_blocks=(3,))
        if str(part.get('model_name')).startswith('local-dir:'):  # a teacher of ours, perhaps not trained yet
            part['model_name'] = 'vit_tiny_patch16_224'
        if isinstance(part.get('clip'), dict):
            if str(part['clip'].get('model')).startswith('local-dir:'):
                part['clip']['model'] = 'ViT-B-16'
            kinds = {'RN': TINY_CLIP_RESNET, 'convnext': TINY_CLIP_CONVNEXT}
            named = str(part['clip'].get('model'))
            part['clip']['arch'] = next((arch for start, arch in kinds.items() if named.startswith(start)), TINY_CLIP)
    for part in dicts(model.get('test_cfg')):
        if 'score_thr' in part:
            part['score_thr'] = 0.0  # an untrained detector is sure of nothing


@contextmanager
def shallow_resnets() -> Iterator[None]:
    """MMSegmentation's and MMDetection's ResNet-50 with one block per stage: no config can say so."""
    with pytest.MonkeyPatch.context() as patch:
        for resnet in (mmseg.models.backbones.ResNet, mmdet.models.backbones.ResNet):
            patch.setitem(resnet.arch_settings, 50, (resnet.arch_settings[50][0], (1, 1, 1, 1)))
        yield


def cut_text(model: ConfigDict) -> None:
    """A narrow text tower, unless text looks at the picture before it is encoded: CLIP has 49,408 rows of tokens."""
    text = model.get('text_encoder') or {}
    if text.get('type') == 'CLIPTextContextEncoder' and model.get('prompting') != 'pre':
        text.update(transformer_width=64, transformer_heads=1)


def cut_boxes(model: ConfigDict) -> None:
    """Few boxes for a detector to look at."""
    for part in dicts([model.get('train_cfg'), model.get('test_cfg')]):
        part.update({key: min(part[key], most) for key, most in MOST_BOXES.items() if part.get(key) is not None})


def place_data(config: Config, data: Path) -> None:
    """Point every data set at a generated one of its own layout."""
    for loader, evaluators in dataloaders(config):
        for part in dicts(loader.dataset):
            if 'data_root' not in part:
                continue
            layout = layout_of(part['type'])
            root = data / layout.name
            if not root.exists():
                write_dataset(layout.name, root, num_train=2, num_val=1, size=(SIDE, SIDE * 4 // 3))
            for evaluator in dicts(evaluators):
                if evaluator.get('ann_file'):
                    evaluator['ann_file'] = evaluator['ann_file'].replace(part['data_root'], str(root), 1)
            part['data_root'] = str(root)
        loader.update(num_workers=0, persistent_workers=False)
    if trains(config):
        config.train_dataloader.batch_size = 2
    if 'feature_cache' in config.model:
        config.model.feature_cache = str(data / 'features')


def cut_run(config: Config) -> None:
    """One iteration, one validation, nothing written but the log."""
    if trains(config) and config.optim_wrapper.type == 'AmpOptimWrapper':
        config.optim_wrapper.type = 'OptimWrapper'  # the other needs a GPU
    if trains(config) and config.optim_wrapper.optimizer.type in ('AdamW', 'SGD'):
        config.optim_wrapper.optimizer.fused = True  # one pass over full widths, not five
    if not trains(config):
        pass
    elif 'max_epochs' in config.train_cfg:
        config.train_cfg.update(max_epochs=1, val_interval=1)
    else:
        config.train_cfg.update(max_iters=1, val_interval=1)
    config.setdefault('default_hooks', ConfigDict()).update(checkpoint=None)
