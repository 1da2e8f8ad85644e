"""Predicted label maps as files: one a picture, whole or absent, under names that tell the pictures apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from denseclip.files.atomic import replacing


class OutputNames:
    """Names of result files by the path of the picture.

    Args:
        names: Stem for each path; a picture that is not in it keeps its own stem.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.names = dict(names or {})

    def stem(self, picture: str) -> str:
        """Stem of a picture's results."""
        return self.names.get(str(picture)) or Path(picture).stem


def results_folder(metric: object, output_dir: str | Path | None, keep_results: bool) -> Path | None:
    """Where a metric that always scores writes its results; None for nowhere.

    Args:
        metric: The metric, for the message.
        output_dir: The folder.
        keep_results: False asks for files alone, as mmseg's metrics take it.

    Raises:
        ValueError: Files are asked for, and no results.
    """
    if output_dir is None:
        return None
    if not keep_results:
        raise ValueError(f'{type(metric).__name__}: output_dir asks for files, keep_results=False for none')
    return Path(output_dir)


def write_picture(image: Image.Image, target: Path) -> None:
    """Write a picture in the format of its suffix; an interruption leaves no half file.

    Args:
        image: The picture.
        target: The file; its folder is made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        image.save(partial, format=Image.registered_extensions()[target.suffix])


def label_map_job(sample: Mapping[str, Any], num_classes: int, folder: Path, names: OutputNames) -> Callable[[], None]:
    """Write the predicted label map of a picture under the ids of the data set's files.

    Args:
        sample: Data sample as a dict with ``pred_sem_seg`` and ``img_path``; where it says ``reduce_zero_label``, the
            files' ids start at 1.
        num_classes: K; a background without words has the label K.
        folder: Where to.
        names: Of the files.

    Returns:
        What writes it.
    """
    labels = sample['pred_sem_seg']['data'].squeeze(0)
    shift = int(bool(sample.get('reduce_zero_label', False)))
    target = folder / f'{names.stem(sample["img_path"])}.png'

    def write() -> None:
        ids = labels.cpu().numpy().astype(np.int64) + shift
        write_label_map(ids, max(num_classes + shift, int(ids.max(initial=0)) + 1), target)

    return write


def write_label_map(labels: np.ndarray, num_classes: int, target: Path) -> None:
    """Write a label map as PNG, in 16 bits where ids do not fit 8.

    Args:
        labels: Integer array.
        num_classes: Number of ids that can occur.
        target: The file; its folder is made.

    Shape:
        labels ``(H, W)``
    """
    write_picture(Image.fromarray(labels.astype(np.uint8 if num_classes <= 256 else np.uint16)), target)
