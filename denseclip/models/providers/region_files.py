"""Regions that another program wrote into files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.files.archives import require_whole

from .base import RegionProvider


@MODELS.register_module()
class RegionFiles(RegionProvider):
    """One file per picture, of the picture's name: an 8- or 16-bit PNG, or a NumPy array, of region numbers.

    ``.npz`` files have them under ``instance_mask``, as those that CorrCLIP's authors publish (``no_region=0``).

    Args:
        folder: Where the files are.
        suffix: ``'.png'``, ``'.npy'`` or ``'.npz'``.
        no_region: Number of pixels that belong to no region; None: all belong to one.
    """

    def __init__(self, folder: str | Path, suffix: str = '.png', no_region: int | None = None) -> None:
        super().__init__()
        if suffix not in ('.png', '.npy', '.npz'):
            raise ValueError(f"suffix='{suffix}': region files are '.png', '.npy' or '.npz'.")
        self.folder, self.suffix, self.no_region = Path(folder), suffix, no_region

    def read(self, picture: str | Path) -> np.ndarray:
        """Region numbers of a picture (H, W).

        Raises:
            FileNotFoundError: If there is no file for it.
            ValueError: If the file holds no map of integers.
        """
        path = self.folder / (Path(picture).stem + self.suffix)
        if not path.is_file():
            raise FileNotFoundError(f"no regions for '{picture}': '{path}' does not exist.")
        try:
            numbers = _read(path)
        except (ValueError, KeyError, EOFError, TokenError) as error:
            raise ValueError(f"'{path}' holds no region numbers that can be read: {error}") from error
        if numbers is None or numbers.ndim != 2 or not np.issubdtype(numbers.dtype, np.integer):
            raise ValueError(f"'{path}' holds no (H, W) map of whole numbers; write region numbers into it.")
        return numbers

    def forward(self, image: Tensor, spec: PreprocessSpec, size: tuple[int, int], meta: Mapping[str, Any]) -> Tensor:
        """See :meth:`RegionProvider.forward`."""
        del spec
        if not meta.get('img_path'):
            raise ValueError('RegionFiles needs the name of the picture (img_path in its meta information).')
        numbers = torch.from_numpy(self.read(meta['img_path']).astype(np.int64)).to(image.device)
        if self.no_region is not None:
            numbers = torch.where(numbers == self.no_region, -1, numbers)
        if tuple(numbers.shape) == tuple(size):
            return numbers
        # Nearest neighbour through indices, since region numbers do not fit every floating-point type.
        index = (
            F.interpolate(
                torch.arange(n, device=image.device, dtype=torch.float64)[None, None], size=m, mode='nearest-exact'
            )[0, 0].long()
            for n, m in zip(numbers.shape, size, strict=True)
        )
        rows, columns = index
        return numbers[rows][:, columns]


def _read(path: Path) -> np.ndarray | None:
    if path.suffix == '.png':
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    require_whole(path)
    content = np.load(path, allow_pickle=False)
    return content if path.suffix == '.npy' else content['instance_mask']
