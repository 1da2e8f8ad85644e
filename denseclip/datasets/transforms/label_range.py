"""A check, cheap enough for every training step, that label maps hold only ids that the model can learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


class LabelRangeError(ValueError):
    """A label map holds an id that is neither a class nor the ignored id."""


@TRANSFORMS.register_module()
class CheckLabelRange(BaseTransform):
    """Stop with the file's name when a label map holds an id outside the classes.

    Without it such an id ends as an index error deep inside the loss (on a GPU: an assertion without a file name
    that also kills the process), or is left out of the score without a word. Stands right after
    ``LoadAnnotations``; costs well under a millisecond for a 512 x 683 map.

    Args:
        num_classes: Ids 0 to ``num_classes - 1`` are classes.
        ignore_index: The one further id that is allowed.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f'CheckLabelRange: num_classes must be at least 1, got {num_classes}')
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Check ``results['gt_seg_map']`` (an integer array of shape (H, W)) and hand ``results`` on unchanged.

        Raises:
            LabelRangeError: With the file, the ids as the file has them, their share, and what to do.
        """
        labels = results['gt_seg_map']
        wrong = labels >= self.num_classes
        wrong &= labels != self.ignore_index
        if wrong.any():
            raise LabelRangeError(self._message(results, labels[wrong], labels.size))
        return results

    def _message(self, results: dict[str, Any], values: np.ndarray, num_pixels: int) -> str:
        """Say what is wrong with one label map; ``values`` are the ids out of range, one for each such pixel."""
        ids = np.unique(values)
        reduced = bool(results.get('reduce_zero_label'))
        in_file = sorted(i for value in ids.tolist() for i in _in_file(value, reduced, results.get('label_map')))
        hint = 'run `denseclip check CONFIG` for a full report'
        if not reduced and in_file == [self.num_classes]:
            hint = (
                f'id {self.num_classes} is one past the last class: if 0 means "no class", set '
                f'reduce_zero_label=True on the data set; if {self.num_classes} does, map it to {self.ignore_index}; '
                + hint
            )
        return (
            f'{results.get("seg_map_path", "label map")}: label ids {in_file} are out of range '
            f'({100 * values.size / num_pixels:.2f} % of the pixels). The pipeline expects {self.num_classes} classes '
            f'(file ids {int(reduced)} to {self.num_classes - 1 + int(reduced)}) and {self.ignore_index} for '
            f'ignored pixels; {hint}'
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_classes={self.num_classes}, ignore_index={self.ignore_index})'


def _in_file(label: int, reduced: bool, label_map: Mapping[int, int] | None) -> list[int]:
    """Ids of a file that the loader can have read as ``label``."""
    before = [old for old, new in (label_map or {}).items() if new == label]
    return [old + int(reduced) for old in before or [label]]
