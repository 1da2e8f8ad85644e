"""Make any config of the repository small enough to train one step on a CPU, without changing what it is.

Depth, picture sizes and batch are cut; widths, heads, losses, pipelines and schedules stay. A config of a new kind
needs no edit here unless one of its modules is slow at full depth: then add its type to ``TINY``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from denseclip.datasets.generated import layout_of, write_dataset

CONFIGS = Path(__file__).parents[2] / 'configs'
SIDE = 64
"""Shorter side of a training crop after cutting."""

TINY: dict[str, dict[str, Any]] = {
    'CLIPResNet': dict(layers=(1, 1, 1, 1), input_resolution=SIDE),
    'CLIPVisionTransformer': dict(layers=4, out_indices=(0, 1, 2, 3), input_resolution=SIDE),
    'CLIPTextContextEncoder': dict(transformer_layers=1),
    'ContextDecoder': dict(transformer_layers=1),
    'SwinTransformer': dict(depths=(1, 1, 1, 1)),
}
"""Arguments that make a module of this type shallow at unchanged widths."""

_KEYS_OF_SIZES = ('crop_size', 'scale', 'stride', 'size')


def all_configs() -> list[Path]:
    """All runnable configs, relative to ``configs/``."""
    return sorted(p.relative_to(CONFIGS) for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)


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


def crop_size(config: Config) -> tuple[int, int]:
    """Height and width that the config trains at."""
    for part in dicts(config.train_dataloader.dataset):
        if part.get('type') == 'RandomCrop':
            return tuple(part['crop_size'])
    return tuple(config.model.data_preprocessor.size)


def pipelines(config: Config) -> list[Any]:
    """All pipelines of a config."""
    loaders = [config[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
    found = [part['pipeline'] for loader in loaders for part in dicts(loader) if 'pipeline' in part]
    return [*found, config.get('tta_pipeline', [])]


def cut_sizes(node: Any, factor: float) -> None:
    """Multiply all sizes in pixels."""
    for part in dicts(node):
        for key in _KEYS_OF_SIZES:
            value = part.get(key)
            if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(v, int) for v in value):
                part[key] = tuple(math.ceil(v * factor) for v in value)


def cut_depth(model: ConfigDict) -> None:
    """Make every module of a known type shallow."""
    for part in dicts(model):
        if 'depth' in part:  # ResNets: 101 has the widths of 50
            part['depth'] = min(part['depth'], 50)
        part.update(TINY.get(part.get('type'), {}))


def place_data(config: Config, data: Path) -> None:
    """Point every data set at a generated one of its own layout."""
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        for part in dicts(loader.dataset):
            if 'data_root' not in part:
                continue
            layout = layout_of(part['type'])
            root = data / layout.name
            if not root.exists():
                write_dataset(layout.name, root, num_train=2, num_val=1, size=(SIDE, SIDE * 4 // 3))
            part['data_root'] = str(root)
        loader.update(num_workers=0, persistent_workers=False)
    config.train_dataloader.batch_size = 2


def cut_run(config: Config) -> None:
    """One iteration, one validation, nothing written but the log."""
    if 'max_epochs' in config.train_cfg:
        config.train_cfg.update(max_epochs=1, val_interval=1)
    else:
        config.train_cfg.update(max_iters=1, val_interval=1)
    config.setdefault('default_hooks', ConfigDict()).update(checkpoint=None)
