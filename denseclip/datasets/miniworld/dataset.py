"""Miniworld for training loops: label maps from disk, and an endless stream of captioned pictures from memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.dataset import Compose
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from ..named_coco import NamedCocoDataset
from .kinds import CLASSES, NUM_THINGS, metainfo, palette
from .world import Mix


@DATASETS.register_module()
class MiniworldDataset(BaseSegDataset):
    """Miniworld's ``ade20k`` layout with the names of its own classes.

    ``denseclip miniworld data/miniworld --layout ade20k`` writes it. mmseg's ``ADE20KDataset`` reads the same files,
    under ADE20K's names.

    Args:
        img_suffix: Ending of the pictures' file names.
        seg_map_suffix: Ending of the label maps' file names.
        reduce_zero_label: The files count classes from 1.
        **kwargs: Everything else that :class:`mmseg.datasets.BaseSegDataset` takes.
    """

    METAINFO = {key: metainfo()[key] for key in ('classes', 'palette')}

    def __init__(
        self,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        reduce_zero_label: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, reduce_zero_label=reduce_zero_label, **kwargs
        )


@DATASETS.register_module()
class MiniworldInstances(NamedCocoDataset):
    """Boxes and masks of miniworld's things, from its ``coco`` layout.

    ``denseclip miniworld data/miniworld_instances --layout coco`` writes it. Arguments as of MMDetection's
    ``CocoDataset``.
    """

    METAINFO = dict(classes=CLASSES[:NUM_THINGS], palette=palette()[:NUM_THINGS])


@DATASETS.register_module()
class MiniworldPictures:
    """Captioned pictures of miniworld, drawn when they are asked for; nothing lies on disk.

    Sample ``i`` of one seed and split is the same picture with the same caption in every process and every epoch.

    Args:
        pipeline: Transforms; they get ``img`` (H, W, 3; BGR, uint8, as MMCV loads pictures), ``img_shape``,
            ``ori_shape``, ``img_id``, ``gt_caption`` and ``caption_group`` (:meth:`~.world.Mix.sample`).
        length: Number of samples.
        seed: Of the world.
        split: ``'train'`` or any other name; splits never share a picture.
        **mix: See :class:`~.world.Mix`.
    """

    def __init__(
        self,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        length: int = 1_000_000,
        seed: int = 0,
        split: str = 'train',
        **mix: Any,
    ) -> None:
        self.pipeline = Compose(list(pipeline))
        self.length = length
        self.seed = seed
        self.split = split
        self.mix = Mix(**mix)
        self.metainfo: dict[str, Any] = {'classes': CLASSES}

    def full_init(self) -> None:
        """Nothing to load; MMEngine calls this on every data set."""

    def __len__(self) -> int:
        """Number of samples."""
        return self.length

    def __getitem__(self, index: int) -> Any:
        """What the pipeline makes of sample ``index``.

        Raises:
            IndexError: Outside ``range(len(self))``.
        """
        if not 0 <= index < self.length:
            raise IndexError(f'sample {index} is not within 0..{self.length - 1}')
        image, caption, group = self.mix.sample(self.seed, self.split, int(index))
        shape = image.shape[:2]
        return self.pipeline(
            dict(
                img=image[..., ::-1].copy(),
                img_shape=shape,
                ori_shape=shape,
                img_id=int(index),
                gt_caption=caption,
                caption_group=group,
            )
        )
