"""Load labels where a picture has some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LabelsIfAny(BaseTransform):
    """Run a step that loads or checks a label map, unless the picture has none: predictions need no labels.

    Args:
        step: Config of the step, such as ``dict(type='LoadAnnotations')``.
    """

    def __init__(self, step: dict[str, Any]) -> None:
        self.step = TRANSFORMS.build(step)

    def transform(self, results: dict) -> dict | None:
        """Add the labels; a path with a scheme, which is no local file, is always read."""
        path = str(results.get('seg_map_path') or '')
        return self.step(results) if '://' in path or (path and Path(path).exists()) else results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.step!r})'
