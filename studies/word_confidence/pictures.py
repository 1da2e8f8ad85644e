"""Pictures with the part of them that every class covers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Pair = tuple[np.ndarray, np.ndarray]


def camvid(root: Path, split: str, every: int = 1, crops: np.random.Generator | None = None) -> Iterator[Pair]:
    """CamVid as ``denseclip convert camvid`` writes it.

    Args:
        root: Its folder.
        split: ``train``, ``val`` or ``test``.
        every: Take every so-manieth picture.
        crops: Cut a random part out of each picture, of a third to all of its sides: more classes are absent there.

    Yields:
        RGB pictures and shares (11,).
    """
    for file in sorted((root / split).glob('*.png'))[::every]:
        picture = np.array(Image.open(file).convert('RGB'))
        labels = np.array(Image.open(root / f'{split}annot' / file.name))
        if crops is not None:
            window = _window(labels.shape, crops)
            picture, labels = picture[window], labels[window]
        yield np.ascontiguousarray(picture), np.bincount(labels.ravel(), minlength=12)[:11] / labels.size


def miniworld(root: Path, split: str, every: int = 1) -> Iterator[Pair]:
    """Miniworld in ADE20K's layout.

    Args:
        root: Its folder.
        split: ``training`` or ``validation``.
        every: Take every so-manieth picture.

    Yields:
        RGB pictures and shares (32,).
    """
    for file in sorted((root / 'images' / split).iterdir())[::every]:
        labels = np.array(Image.open(root / 'annotations' / split / f'{file.stem}.png')).astype(np.int64) - 1
        shares = np.bincount(labels[labels >= 0], minlength=32)[:32] / labels.size
        yield np.array(Image.open(file).convert('RGB')), shares


def of_config(config: Path, start: int, step: int) -> tuple[tuple[str, ...], Iterator[Pair]]:
    """The test pictures of a config, as its own data set reads them.

    Args:
        config: Config file with a ``test_dataloader``.
        start: Number of the first picture to take.
        step: Take every so-manieth picture.

    Returns:
        Names of the classes; RGB pictures and shares of the classes.
    """
    from mmengine.config import Config
    from mmengine.registry import DATASETS, init_default_scope

    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    spec = cfg.test_dataloader.dataset
    spec.pipeline = [transform for transform in spec.pipeline if transform.type.startswith('Load')]
    data = DATASETS.build(spec)
    names = tuple(str(name) for name in data.metainfo['classes'])

    def pairs() -> Iterator[Pair]:
        for number in range(start, len(data), step):
            sample = data[number]
            labels = np.asarray(sample['gt_seg_map']).astype(np.int64)
            shares = np.bincount(labels[labels < len(names)], minlength=len(names)) / labels.size
            yield np.ascontiguousarray(sample['img'][..., ::-1]), shares  # MMCV reads BGR

    return names, pairs()


def _window(size: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    sides = [int(rng.integers(side // 3, side + 1)) for side in size]
    starts = [int(rng.integers(0, full - side + 1)) for full, side in zip(size, sides, strict=True)]
    return slice(starts[0], starts[0] + sides[0]), slice(starts[1], starts[1] + sides[1])
