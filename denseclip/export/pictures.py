"""What happens to a picture before the model, as the runtime is told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denseclip.apis.inferencer import MAX_SIDE
from denseclip.export.errors import ExportError
from denseclip.models.segmentors.fcclip import FCCLIP, MULTIPLE
from denseclip.models.segmentors.ovseg import OVSeg
from denseclip.runtime.manifest import Picture

_UNLIMITED = 2**31
_PACKING = ('PackSegInputs', 'PackPanopticInputs', 'PackDetInputs')
"""Without annotations all of them pack the picture alone."""


def picture_steps(steps: Sequence[Mapping[str, Any]], model: Any) -> Picture:
    """The test pipeline, the data preprocessor and the windows of a segmentor.

    Args:
        steps: Configs of the test transforms without reading files, see ``denseclip.apis.config``.
        model: An MMSeg segmentor.

    Raises:
        ExportError: If the runtime cannot do one of them.
    """
    resizing = resizing_of(steps)
    if not hasattr(model.data_preprocessor, 'test_cfg'):
        raise ExportError(f"the runtime has no counterpart of '{type(model.data_preprocessor).__name__}'.")
    before, padding = model.data_preprocessor, model.data_preprocessor.test_cfg or {}
    normal = before._enable_normalize
    size, test = padding.get('size'), model.test_cfg
    slide = test.get('mode', 'whole') == 'slide'
    whole, colour = _filling(model)
    return Picture(
        **resizing,
        most=MAX_SIDE,
        rgb=bool(before.channel_conversion),
        mean=tuple(before.mean.flatten().tolist()) if normal else (0.0, 0.0, 0.0),
        std=tuple(before.std.flatten().tolist()) if normal else (1.0, 1.0, 1.0),
        pad_divisor=int(padding.get('size_divisor') or 1),
        pad_size=None if size is None else (int(size[0]), int(size[1])),
        pad_value=float(before.pad_val),
        crop=_pair(test['crop_size']) if slide else None,
        stride=_pair(test['stride']) if slide else None,
        whole=whole,
        whole_value=colour,
    )


def detector_steps(steps: Sequence[Mapping[str, Any]], model: Any) -> Picture:
    """The test pipeline and the data preprocessor of an MMDet detector; see :func:`picture_steps`."""
    resizing = resizing_of(steps)
    before = model.data_preprocessor
    normal = before._enable_normalize
    return Picture(
        **resizing,
        most=_UNLIMITED,
        rgb=bool(before._channel_conversion),
        mean=tuple(before.mean.flatten().tolist()) if normal else (0.0, 0.0, 0.0),
        std=tuple(before.std.flatten().tolist()) if normal else (1.0, 1.0, 1.0),
        pad_divisor=int(before.pad_size_divisor or 1),
        pad_value=float(before.pad_value),
    )


def anomaly_steps(model: Any) -> Picture:
    """How an anomaly model's pictures become its input: Pillow's resizing, no padding, no windows.

    Args:
        model: An ``AnomalyModel``.
    """
    before = model.data_preprocessor
    normal = before._enable_normalize
    height, width = model.image_size
    return Picture(
        resize=(int(width), int(height)),
        keep_ratio=False,
        shorter=min(int(height), int(width)) if model.keep_ratio else None,
        most=MAX_SIDE,
        rgb=bool(before._channel_conversion),
        mean=tuple(before.mean.flatten().tolist()) if normal else (0.0, 0.0, 0.0),
        std=tuple(before.std.flatten().tolist()) if normal else (1.0, 1.0, 1.0),
        backend='pillow',
    )


def _filling(model: Any) -> tuple[tuple[int, int] | None, tuple[float, ...]]:
    """Multiples that the model itself fills pictures up to, and with what."""
    black = (0.0, 0.0, 0.0)
    if isinstance(model, FCCLIP):
        return (MULTIPLE, MULTIPLE), black
    if isinstance(model, OVSeg):
        return (model.size_divisor, model.size_divisor), black
    if not hasattr(model, 'pad') or model.stretch:  # a stretched map is that of the padding inside the graph
        return None, black
    spec = model.tower.preprocess
    colour = black if model.padding == 'zero' else tuple(-m / s for m, s in zip(spec.mean, spec.std, strict=True))
    return _pair(model.tower.multiple), colour


def resizing_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How pictures are resized, in the words of :class:`Picture`.

    Args:
        steps: See :func:`picture_steps`.

    Raises:
        ExportError: If the runtime cannot do one of them.
    """
    found: dict[str, Any] = {}
    for step in steps:
        kind = step['type'].rsplit('.')[-1]
        if kind == 'Resize' and not found:
            found['resize'], found['keep_ratio'] = _resize(step)
        elif kind == 'PillowResizeShortSide' and not found and isinstance(step.get('short_side', 800), int):
            found = {'fit': (step.get('short_side', 800), step.get('max_long_side', 1333) or 0), 'backend': 'pillow'}
        elif kind not in _PACKING:
            raise ExportError(f"the runtime has no counterpart of the test pipeline's '{kind}'.")
    return {'resize': None, 'keep_ratio': True, **found}


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
