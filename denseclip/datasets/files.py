"""Reading label maps and sizes as they lie on disk, with errors that name the file."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError


class UnreadableFileError(ValueError):
    """A picture or label map is missing, empty, cut off, or of a kind that cannot be a label map."""


def image_size(path: str | Path) -> tuple[int, int]:
    """Size of a picture, with every pixel decoded so that a cut-off file is found.

    Args:
        path: A picture that Pillow can read.

    Returns:
        Height and width.

    Raises:
        UnreadableFileError: If the file is missing, empty or damaged.
    """
    with _opened(path) as image:
        return image.height, image.width


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
    with _opened(path) as image:
        labels = np.asarray(image)
    if labels.ndim != 2:
        raise UnreadableFileError(
            f'{path}: holds {labels.shape[2]} channels ({image.mode}); a label map has one number a pixel. '
            'Colours must first be turned into class ids'
        )
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool:
        raise UnreadableFileError(f'{path}: holds {labels.dtype} values; a label map holds whole numbers')
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _opened(path: str | Path) -> Image.Image:
    """Open and fully decode a picture; any failure names the file."""
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    return image
