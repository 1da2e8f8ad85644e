"""Masks that another program wrote into files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS
from pycocotools import mask as coco_masks
from torch import Tensor

from denseclip.files.archives import require_whole

from .base import PictureProposer

SUFFIXES = ('.npz', '.npy', '.png', '.json')


@MODELS.register_module()
class MaskFiles(PictureProposer):
    """One file per picture, of the picture's name.

    ========= =============================================================================================
    ``.npz``  ``masks`` (Q, H, W), of shares those above one half, and, if there are any, ``scores`` (Q,)
    ``.npy``  masks (Q, H, W), the same
    ``.png``  region number of each pixel, 8 or 16 bits; 0 belongs to no mask
    ``.json`` a list of masks in COCO's run-length code, as Segment Anything writes it: ``segmentation`` with
              ``size`` and ``counts``, and ``predicted_iou`` or ``score``
    ========= =============================================================================================

    Args:
        folder: Where the files are.
        suffix: Which of them; None takes whichever is there.
    """

    def __init__(self, folder: str | Path, suffix: str | None = None) -> None:
        super().__init__()
        if suffix is not None and suffix not in SUFFIXES:
            raise ValueError(f"suffix='{suffix}': mask files are {', '.join(SUFFIXES)}.")
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"folder of masks '{folder}' does not exist.")
        self.folder, self.suffixes = Path(folder), SUFFIXES if suffix is None else (suffix,)

    def file_of(self, picture: str | Path) -> Path:
        """File that holds the masks of a picture.

        Raises:
            FileNotFoundError: If there is none.
        """
        stem = Path(picture).stem
        for suffix in self.suffixes:
            if (path := self.folder / f'{stem}{suffix}').is_file():
                return path
        raise FileNotFoundError(
            f"no masks for '{picture}': '{self.folder}' has no {stem} with {', '.join(self.suffixes)}."
        )

    def find(self, picture: Tensor, meta: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """See :meth:`PictureProposer.find`."""
        if not meta.get('img_path'):
            raise ValueError('MaskFiles needs the name of the picture (img_path in its meta information).')
        path = self.file_of(meta['img_path'])
        try:
            masks, scores = _READERS[path.suffix](path, tuple(picture.shape[:2]))
        except (ValueError, KeyError, EOFError, TokenError) as error:  # cut off, damaged, or of another make
            raise ValueError(f"'{path}' holds no masks that can be read: {error}") from error
        if masks.ndim != 3 or (scores is not None and scores.shape != masks.shape[:1]):
            raise ValueError(f"'{path}' must hold masks (Q, H, W) and at most one score for each.")
        inside = masks > 0.5 if np.issubdtype(masks.dtype, np.floating) else masks.astype(bool)
        sure = None if scores is None else torch.from_numpy(scores.astype(np.float32))
        return torch.from_numpy(np.ascontiguousarray(inside)), sure


def _read_npz(path: Path, _: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    require_whole(path)
    with np.load(path, allow_pickle=False) as content:
        if 'masks' not in content:
            raise ValueError(f"'{path}' has no 'masks'; it holds {', '.join(content)}.")
        return content['masks'], content.get('scores')


def _read_npy(path: Path, _: tuple[int, ...]) -> tuple[np.ndarray, None]:
    return np.load(path, allow_pickle=False), None


def _read_png(path: Path, _: tuple[int, ...]) -> tuple[np.ndarray, None]:
    numbers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if numbers is None or numbers.ndim != 2:
        raise ValueError(f"'{path}' is no picture of region numbers (one channel, 8 or 16 bits).")
    return numbers[None] == np.setdiff1d(numbers, 0)[:, None, None], None


def _read_json(path: Path, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    entries = json.loads(path.read_text(encoding='utf-8'))
    entries = entries.get('annotations', []) if isinstance(entries, dict) else entries
    codes = [_run_lengths(entry['segmentation'], path) for entry in entries]
    scores = np.array([entry.get('predicted_iou', entry.get('score', 1.0)) for entry in entries], dtype=np.float32)
    if not codes:
        return np.zeros((0, *size), dtype=bool), scores
    return coco_masks.decode(codes).transpose(2, 0, 1), scores


def _run_lengths(code: Any, path: Path) -> dict[str, Any]:
    if not isinstance(code, dict) or not {'size', 'counts'} <= set(code):
        raise ValueError(f"'{path}': a mask must be in COCO's run-length code (size, counts); polygons are not read.")
    if isinstance(code['counts'], list):
        return coco_masks.frPyObjects(code, *code['size'])
    return {'size': code['size'], 'counts': code['counts'].encode('ascii')}


_READERS: dict[str, Any] = {'.npz': _read_npz, '.npy': _read_npy, '.png': _read_png, '.json': _read_json}
