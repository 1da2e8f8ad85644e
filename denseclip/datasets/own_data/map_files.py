"""Reading label maps of any kind as ids: numbers, palettes, colours, grey levels in three channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from denseclip.datasets.files import UnreadableFileError, ids_of_picture, open_picture
from denseclip.files.pictures import LOSSY

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MapReader:
    """Reads label maps as ids.

    Attributes:
        colours: Id of each colour; empty where files hold ids.
        ids: Ids of the classes, where they were given; JPEG files, whose ids are blurred, take the nearest.
        narrowed: New ids of all that may occur, where some need more than a byte.
    """

    colours: Mapping[Colour, int]
    ids: Sequence[int] = ()
    narrowed: Mapping[int, int] = field(default_factory=dict)

    def read(self, path: Path) -> tuple[np.ndarray, bool]:
        """Ids of a label map, and whether mmseg's loader would read the same from the file as it is.

        Args:
            path: The file.

        Returns:
            Integers (H, W), and whether they stand in the file so.

        Raises:
            UnreadableFileError: If the file is damaged, or its colours are not listed.
        """
        ids, as_is = self._read(path)
        if not self.narrowed:
            return ids, as_is
        found, inverse = np.unique(ids, return_inverse=True)
        unknown = [int(i) for i in found if int(i) not in self.narrowed]
        if unknown:
            listed = ', '.join(map(str, unknown[:10]))
            raise UnreadableFileError(f'{path}: holds the ids {listed}, which neither --ids nor --ignore names')
        new = np.array([self.narrowed[int(i)] for i in found], dtype=np.uint8)
        return new[inverse.reshape(ids.shape)], False

    def _read(self, path: Path) -> tuple[np.ndarray, bool]:
        with open_picture(path) as image:
            mode = image.mode
            if self.colours and mode in ('P', 'RGB', 'RGBA'):
                ids = self._by_colour(path, image)
                if ids is not None:
                    return ids, mode == 'P' and np.array_equal(ids, np.asarray(image))
            if mode in ('RGB', 'RGBA', 'LA'):
                return self._lossless(path, _grey(path, image)), False
            ids = ids_of_picture(image, path)
        nearest = self._lossless(path, ids)
        return nearest, nearest is ids

    def _by_colour(self, path: Path, image: Image.Image) -> np.ndarray | None:
        """Ids of listed colours; ``None`` for a palette or grey file with others, whose numbers are ids themselves."""
        pixels = np.asarray(image.convert('RGB')).astype(np.int32)
        keys = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
        found, inverse = np.unique(keys, return_inverse=True)
        table = {r << 16 | g << 8 | b: i for (r, g, b), i in self.colours.items()}
        strange = [int(key) for key in found if int(key) not in table]
        if strange and (image.mode == 'P' or all(key % 0x10101 == 0 for key in found.tolist())):
            return None
        if strange:
            listed = listed_colours((key >> 16, key >> 8 & 255, key & 255) for key in strange)
            raise UnreadableFileError(f'{path}: holds colours that no class has: {listed}')
        ids = np.array([table[int(key)] for key in found], dtype=np.uint8)
        return ids[inverse.reshape(keys.shape)]

    def _lossless(self, path: Path, ids: np.ndarray) -> np.ndarray:
        if path.suffix.lower() not in LOSSY:
            return ids
        if not self.ids:
            raise UnreadableFileError(
                f'{path}: JPEG changes ids, a label map cannot be read from it. Save it as PNG from its source, or say '
                'which ids it held and take the nearest: --ids 0 255'
            )
        known = np.array(sorted(self.ids))
        table = known[np.abs(np.arange(256)[:, None] - known).argmin(1)]
        return table[np.minimum(ids, 255)].astype(np.uint8)


def _grey(path: Path, image: Image.Image) -> np.ndarray:
    """The level of a file whose channels are equal."""
    pixels = np.asarray(image)
    solid = image.mode == 'RGB' or bool((pixels[..., -1] == 255).all())
    level = pixels[..., 0]
    colours = pixels[..., : 1 if image.mode == 'LA' else 3]
    lossy = 8 if path.suffix.lower() in LOSSY else 0
    if not solid or np.abs(colours.astype(np.int16) - level[..., None]).max(initial=0) > lossy:
        raise UnreadableFileError(
            f'{path}: holds {pixels.shape[2]} channels ({image.mode}) of colours, {_sorts(pixels)}, and nothing says '
            'which class each is. Put a labelmap.txt with a line "name:R,G,B::" for each class into the folder of the '
            'data set, or name a known set with --colors'
        )
    return level.copy()


def _sorts(pixels: np.ndarray) -> str:
    """The colours of a picture in words; (H, W, C)."""
    if pixels.shape[2] < 3:
        return 'greys that are partly transparent'
    found = np.unique(pixels[..., :3].reshape(-1, 3), axis=0)
    return listed_colours((int(r), int(g), int(b)) for r, g, b in found)


def listed_colours(colours: Iterable[Colour], most: int = 5) -> str:
    """Colours as text, the first of them and how many more there are."""
    found = sorted(colours)
    more = f' and {len(found) - most} more' if len(found) > most else ''
    return ', '.join(str(colour) for colour in found[:most]) + more
