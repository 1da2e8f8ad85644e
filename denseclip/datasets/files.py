"""Reading label maps and sizes as they lie on disk, with errors that name the file.

Photographs carry an EXIF orientation, by which viewers and mmcv's readers turn them: ``cv2`` and ``pillow`` turn for
the flags ``color`` and ``grayscale`` and leave the picture as it is stored for ``unchanged`` and the
``..._ignore_orientation`` flags; ``tifffile`` and ``turbojpeg`` never turn. TIFF files are turned by their decoder,
whatever the flag. A size is therefore that of the upright picture wherever nothing else is said; label maps are read as
stored (mmseg's loader reads them ``unchanged``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.files.pixels import open_safely

_ORIENTATION = 0x0112  # EXIF
_AS_STORED = (
    "read pictures as they are stored: color_type='color_ignore_orientation' in each LoadImageFromFile of the config"
)


class UnreadableFileError(ValueError):
    """A picture or label map is missing, empty, cut off, or of a kind that cannot be a label map."""


def read_text(path: Path) -> str:
    """Text of a list or an annotation file.

    Args:
        path: The file, UTF-8, with a byte order mark or without.

    Raises:
        UnreadableFileError: If it cannot be read, or is no such text.
    """
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f'{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8') from error
    except OSError as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error.strerror})') from error


@dataclass(frozen=True)
class PictureSize:
    """Both sizes of a picture.

    Attributes:
        stored: Height and width of the pixels in the file.
        orientation: EXIF orientation, 1 to 8; 1 for upright, and where the file says nothing.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width after turning."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored

    def read(self, *, upright: bool) -> tuple[int, int]:
        """Height and width as a reader that turns, or one that does not, sees them."""
        return self.upright if upright else self.stored

    def fault(
        self, made: tuple[Any, ...], message: str, *, upright: bool = True, in_config: bool = False
    ) -> str | None:
        """Compare with the size of a label map, or one that was written down.

        Args:
            made: Height and width of what was made for the picture.
            message: What to say where they differ.
            upright: Whether training turns pictures by their orientation.
            in_config: Whether a loader of a config can be told not to turn them.

        Returns:
            ``None`` where the sizes agree; otherwise the message, with cause and cure where turning is the cause.
        """
        if made == self.read(upright=upright):
            return None
        if made != self.read(upright=not upright):
            return message
        if upright:
            found = (
                f'{message}: the picture has the EXIF orientation {self.orientation}, by which training turns it; this '
                'was made before turning. Make it on the turned picture'
            )
            return f'{found}; or, if all were made so, {_AS_STORED}' if in_config else found
        return (
            f'{message}: this was made on the picture turned by its EXIF orientation {self.orientation}, which the '
            "config ignores: take color_type='color_ignore_orientation' out of its LoadImageFromFile"
        )


def picture_size(path: str | Path) -> PictureSize:
    """Size and orientation of a picture, with every pixel decoded so that a cut-off file is found.

    Args:
        path: A picture that Pillow can read.

    Raises:
        UnreadableFileError: If the file is missing, empty or damaged.
    """
    with open_picture(path) as image:
        orientation = image.getexif().get(_ORIENTATION, 1)  # TIFF: none any more, the decoder has turned it
        known = isinstance(orientation, int) and 1 <= orientation <= 8
        return PictureSize((image.height, image.width), orientation if known else 1)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture turned by its EXIF orientation, as training reads it.

    Args:
        path: A picture that Pillow can read.

    Raises:
        UnreadableFileError: If the file is missing, empty or damaged.
    """
    return picture_size(path).upright


def turns_pictures(pipeline: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a pipeline turns pictures by their EXIF orientation, as it does unless its loader is told otherwise.

    Args:
        pipeline: Configs of transforms.
    """
    loads = [step for step in pipeline if str(step.get('type')).endswith('LoadImageFromFile')]
    return all(
        step.get('color_type', 'color') in ('color', 'grayscale')
        and step.get('imdecode_backend', 'cv2') not in ('tifffile', 'turbojpeg')
        for step in loads
    )


def read_label_map(path: str | Path) -> np.ndarray:
    """Read a label map without any change of its ids.

    Palette files give their indices. Unlike mmseg's ``LoadAnnotations`` ids above 255 are kept, so that a 16-bit
    file can be told from one whose ids happen to fit.

    Args:
        path: A label map that Pillow can read.

    Returns:
        Integer array of shape (H, W).

    Raises:
        UnreadableFileError: If the file is missing, damaged, or holds colours instead of ids.
    """
    with open_picture(path) as image:
        return ids_of_picture(image, path)


def ids_of_picture(image: Image.Image, path: str | Path) -> np.ndarray:
    """The ids that an open label map holds; see :func:`read_label_map`."""
    labels = np.asarray(image)
    if labels.ndim != 2:
        raise UnreadableFileError(
            f'{path}: holds {labels.shape[2]} channels ({image.mode}); a label map has one number a pixel. '
            'Colours must first be turned into class ids'
        )
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise UnreadableFileError(f'{path}: holds {labels.dtype} values; a label map holds whole numbers')
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def open_picture(path: str | Path) -> Image.Image:
    """Open and fully decode a picture, as it is stored.

    Args:
        path: A file in any format that Pillow reads.

    Raises:
        UnreadableFileError: If the file is missing, empty or damaged.
    """
    try:
        image = open_safely(path)
        image.load()
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    return image
