"""Pictures without labels: all of a folder, or a random sample of them.

For methods that learn from pictures alone, such as CLIP-DINOiser, which takes 1,000 pictures of ImageNet::

    data/imagenet/train/
    ├── n01440764/  n01440764_10026.JPEG ...
    └── ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from denseclip.files.pictures import PICTURE_SUFFIXES, walk


@DATASETS.register_module()
class PictureFolderDataset(BaseDataset):
    """Every picture below a folder, in the order of the paths; hidden files are left out.

    Args:
        data_root: Folder.
        data_prefix: ``img_path``: a folder inside it.
        sample: Take only so many pictures, drawn once with replacement; None takes all.
        sample_seed: Of that draw (NumPy's legacy generator, as the authors of CLIP-DINOiser used it).
        suffixes: Endings that count as pictures, in lower case.
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes (``pipeline``, ``indices`` ...).

    Raises:
        FileNotFoundError: If the folder is missing or holds no picture.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: dict[str, str] | None = None,
        sample: int | None = None,
        sample_seed: int = 0,
        suffixes: tuple[str, ...] = PICTURE_SUFFIXES,
        **kwargs: Any,
    ) -> None:
        self.sample, self.sample_seed, self.suffixes = sample, sample_seed, tuple(suffixes)
        super().__init__(ann_file='', data_root=data_root, data_prefix=data_prefix or dict(img_path=''), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Paths of all pictures, or of the sample."""
        root = self.data_prefix['img_path'] or self.data_root
        paths = [
            str(Path(folder) / name)
            for folder, _, names in walk(root)
            for name in names
            if name.lower().endswith(self.suffixes)
        ]
        if not paths:
            raise FileNotFoundError(
                f"'{root}' holds no picture ({', '.join(self.suffixes)}); set data_root and data_prefix.img_path to a "
                'folder of pictures.'
            )
        paths.sort()
        if self.sample is not None:
            drawn = np.random.RandomState(self.sample_seed).choice(len(paths), self.sample)
            paths = [paths[i] for i in drawn]
        return [dict(img_path=path) for path in paths]
