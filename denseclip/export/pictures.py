"""What happens to a picture before the model, as the runtime is told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denseclip.apis.inferencer import MAX_SIDE
from denseclip.export.errors import ExportError
from denseclip.runtime.manifest import Picture


def picture_steps(steps: Sequence[Mapping[str, Any]], model: Any) -> Picture:
    """The test pipeline, the data preprocessor and the windows of a segmentor.

    Args:
        steps: Configs of the test transforms without reading files, see ``denseclip.apis.config``.
        model: An MMSeg segmentor.

    Raises:
        ExportError: If the runtime cannot do one of them.
    """
    resize, keep_ratio = None, True
    for step in steps:
        kind = step['type'].rsplit('.')[-1]
        if kind == 'Resize' and resize is None:
            resize, keep_ratio = _resize(step)
        elif kind != 'PackSegInputs':
            raise ExportError(f"the runtime has no counterpart of the test pipeline's '{kind}'.")
    before, padding = model.data_preprocessor, model.data_preprocessor.test_cfg or {}
    normal = before._enable_normalize
    size, test = padding.get('size'), model.test_cfg
    slide = test.get('mode', 'whole') == 'slide'
    fills = hasattr(model, 'pad') and not model.stretch  # a stretched map is that of the padding inside the graph
    return Picture(
        resize=resize,
        keep_ratio=keep_ratio,
        most=MAX_SIDE,
        rgb=bool(before.channel_conversion),
        mean=tuple(before.mean.flatten().tolist()) if normal else (0.0, 0.0, 0.0),
        std=tuple(before.std.flatten().tolist()) if normal else (1.0, 1.0, 1.0),
        pad_divisor=int(padding.get('size_divisor') or 1),
        pad_size=None if size is None else (int(size[0]), int(size[1])),
        pad_value=float(before.pad_val),
        crop=_pair(test['crop_size']) if slide else None,
        stride=_pair(test['stride']) if slide else None,
        whole=_pair(model.tower.multiple) if fills else None,
        whole_value=_colour(model) if fills else (0.0, 0.0, 0.0),
    )


def _colour(model: Any) -> tuple[float, ...]:
    """What a dense CLIP fills pictures up with."""
    spec = model.tower.preprocess
    return (
        (0.0, 0.0, 0.0) if model.padding == 'zero' else tuple(-m / s for m, s in zip(spec.mean, spec.std, strict=True))
    )


def _resize(step: Mapping[str, Any]) -> tuple[tuple[int, int], bool]:
    scale = step.get('scale')
    plain = step.get('interpolation', 'bilinear') == 'bilinear' and step.get('backend', 'cv2') == 'cv2'
    if not isinstance(scale, tuple | list) or not plain or step.get('scale_factor') is not None:
        raise ExportError(
            f"the runtime resizes to a 'scale' of two sides, bilinearly by OpenCV's rules; the test pipeline says "
            f'{dict(step)}.'
        )
    return _pair(scale), bool(step.get('keep_ratio', False))


def _pair(value: Sequence[int]) -> tuple[int, int]:
    first, second = value
    return int(first), int(second)
