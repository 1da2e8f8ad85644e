"""Pipelines of data sets whose pictures differ in size and whose labels differ in number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Step = dict[str, Any]
"""One transform of a pipeline."""


def ignored_label(num_classes: int) -> int:
    """Label of ignored pixels: 255, or 65535 beyond 255 classes, whose label maps have 16 bits."""
    return 65535 if num_classes > 255 else 255


def eval_steps(resize: Step, num_classes: int | None, *, wide: bool = False) -> list[Step]:
    """Measure against label maps at the size of the files.

    Args:
        resize: The step that brings pictures to the size of the network. Labels are read after it, so that the score is
            taken at the size of the label map.
        num_classes: Ids below it may occur; None leaves them unchecked.
        wide: Labels are 16-bit, and 65535 is ignored.
    """
    load = 'LoadWideAnnotations' if wide else 'LoadAnnotations'
    return [
        dict(type='LoadImageFromFile'),
        resize,
        dict(type=load),
        *([] if num_classes is None else [_check(num_classes, wide=wide)]),
        dict(type='PackSegInputs'),
    ]


def _check(num_classes: int, *, wide: bool = False) -> Step:
    return dict(type='CheckLabelRange', num_classes=num_classes, **(dict(ignore_index=65535) if wide else {}))


def crop_train_steps(
    num_classes: int,
    scale: tuple[int, int],
    crop_size: tuple[int, int],
    *,
    ratio_range: tuple[float, float] = (0.5, 2.0),
    cat_max_ratio: float = 0.75,
    labels: Sequence[Step] = (),
) -> list[Step]:
    """Train on random crops of resized pictures in changed colours.

    Args:
        num_classes: Ids below it may occur.
        scale: Longest and shortest side that a picture must fit into at ratio 1.
        crop_size: Height and width of a crop.
        ratio_range: Least and largest factor of ``scale``.
        cat_max_ratio: Largest share of one class in a crop.
        labels: Steps that change the labels as soon as they are read.
    """
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        _check(num_classes),
        *labels,
        dict(type='RandomResize', scale=scale, ratio_range=ratio_range, keep_ratio=True),
        dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=cat_max_ratio),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]


def lsj_steps(crop_size: tuple[int, int]) -> list[Step]:
    """Train on panoptic segments by large-scale jitter: a picture is fitted into a tenth of the crop to twice of it.

    Args:
        crop_size: Height and width of a crop; what a picture leaves of it is padded.
    """
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadPanopticSegments'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomResize', scale=crop_size, ratio_range=(0.1, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=crop_size),
        dict(type='Pad', size=crop_size, pad_val=dict(img=128, seg=255)),
        dict(type='PackPanopticInputs', with_instances=True),
    ]


def tta_steps(scale: tuple[int, int], ratios: Sequence[float]) -> list[Step]:
    """Test every picture at several sizes and mirrored (``--tta``).

    Args:
        scale: Longest and shortest side that a picture must fit into at ratio 1.
        ratios: Factors of ``scale``, not of each picture's own size.
    """
    sizes = [(int(scale[0] * ratio), int(scale[1] * ratio)) for ratio in ratios]
    transforms = [
        [dict(type='Resize', scale=size, keep_ratio=True) for size in sizes],
        [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    ]
    return [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=transforms)]


def box_train_steps(scale: tuple[int, int]) -> list[Step]:
    """Train on boxes and masks of whole pictures, half of them mirrored.

    Args:
        scale: Longest and shortest side that a picture must fit into.
    """
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='Resize', scale=scale, keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]


def box_eval_steps(scale: tuple[int, int], *, masks: bool = False) -> list[Step]:
    """Measure against boxes at the size of the files.

    Args:
        scale: Longest and shortest side that a picture must fit into.
        masks: Read masks too.
    """
    return [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=scale, keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True, **(dict(with_mask=True) if masks else {})),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]


def anomaly_steps(size: int | tuple[int, int], *, mask: bool = True, threshold: int | None = None) -> list[Step]:
    """Measure anomaly maps; pictures are decoded by Pillow, as the authors' are.

    Args:
        size: Shorter side, or height and width that pictures are squashed to.
        mask: Resize masks, too; otherwise maps are compared at the size of the files.
        threshold: Grey value above which a mask is a defect; None for every value but 0.
    """
    return [
        dict(type='LoadImageFromFile', imdecode_backend='pillow'),
        dict(type='LoadAnomalyMask', **({} if threshold is None else dict(threshold=threshold))),
        dict(type='ResizePicture', size=size, mask=mask),
        dict(type='PackAnomalyInputs'),
    ]
