"""Pictures with the class of every pixel, as the test data of a config have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.datasets.perfect_labels import VOID, build_reader, is_semantic, true_labels
from denseclip.datasets.sources import plain_datasets
from denseclip.engine.data.samples import explained, require_data
from denseclip.files.pixels import open_safely

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """A picture whose pixels are known.

    Attributes:
        rgb: (H, W, 3).
        labels: Class of each pixel, (H, W); :data:`VOID` for none.
        path: Its file.
    """

    rgb: Pixels
    labels: Labels
    path: str


class LabelledPictures:
    """The test pictures of a config; each is read when it is asked for.

    Args:
        config: A config with ``test_dataloader``.
        name: What messages call it.
        limit: Take so many, evenly spread over the set; None takes all.

    Raises:
        UserError: If it has no label maps.
        OptionError: If files or folders are missing.
    """

    def __init__(self, config: Config, name: str, limit: int | None = None) -> None:
        init_default_scope(config.get('default_scope') or 'mmseg')
        loader = config.get('test_dataloader')
        parts = list(plain_datasets(loader.dataset)) if loader else []
        if not parts or not all(is_semantic(part) for part in parts):
            kinds = ', '.join(str(part.get('type')) for part in parts) or 'no test_dataloader'
            raise UserError(
                f"config '{name}' has no test pictures with label maps ({kinds}): name a config that has some with "
                '--data CONFIG (data=).'
            )
        require_data(config, ('test',))
        self._sets: list[BaseSegDataset] = []
        for part in parts:
            with explained(part):
                self._sets.append(build_reader(part, 'test'))
        self.names = tuple(str(one) for one in self._sets[0].metainfo['classes'])
        self.kind = str(parts[0]['type']).rpartition('.')[2]
        places = [(data, index) for data in self._sets for index in range(len(data))]
        if limit is not None and limit < len(places):
            places = [places[k] for k in np.linspace(0, len(places) - 1, limit).round().astype(int)]
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def _infos(self) -> Iterator[dict[str, Any]]:
        return (data.get_data_info(place) for data, place in self._places)

    def files(self) -> Iterator[str]:
        """All pictures and label maps."""
        return (str(info[key]) for info in self._infos() for key in ('img_path', 'seg_map_path'))

    def smaller_than(self, side: int) -> str | None:
        """What to say of the first picture with a side of fewer pixels; None where there is none.

        Raises:
            UnreadableImageError: If a picture cannot be read.
        """
        for path in (info['img_path'] for info in self._infos()):
            try:
                with open_safely(path) as picture:  # its header alone
                    width, height = picture.size
            except (OSError, SyntaxError, Image.DecompressionBombError):
                height, width = Picture.of(path).rgb.shape[:2]  # says what is wrong
            if min(width, height) < side:
                return f"'{path}' is {width} x {height}, corruptions need {side} pixels a side: leave it out."
        return None

    def labels(self, index: int) -> Labels:
        """The classes of a picture's pixels, (H, W)."""
        data, place = self._places[index]
        return true_labels(data, data.get_data_info(place))

    def __iter__(self) -> Iterator[Labelled]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> Labelled:
        """Read a picture and its labels.

        Raises:
            UserError: If they do not lie on each other.
            UnreadableImageError: If the picture cannot be read.
            UnreadableFileError: If the label map cannot be read.
        """
        data, place = self._places[index]
        info = data.get_data_info(place)
        picture, labels = Picture.of(info['img_path']), true_labels(data, info)
        if picture.rgb.shape[:2] != labels.shape:
            raise UserError(
                f"label map '{info['seg_map_path']}' is {labels.shape[1]} x {labels.shape[0]}, its picture "
                f"'{info['img_path']}' is {picture.rgb.shape[1]} x {picture.rgb.shape[0]}; mend or leave out the pair."
            )
        return Labelled(picture.rgb, labels, str(info['img_path']))


__all__ = ['VOID', 'Labelled', 'LabelledPictures']
