"""Reading pictures: every common kind comes out as 8-bit BGR, everything else as an error that names file and cure.

=====================  ==========================================================================================
16-bit grey            divided by 257 (0..65535 becomes 0..255); the contrast is not stretched
float, 32-bit integer  as they are when within 0..1 or 0..255; otherwise the file's own range becomes 0..255
grey, 1-bit, palette   repeated over, or looked up in, three channels
transparency           laid over white, as browsers and image viewers do
EXIF orientation       applied: the array is upright
animation              first frame
CMYK, YCbCr, Lab       converted by Pillow
=====================  ==========================================================================================

Pillow's guard against decompression bombs stays on.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from denseclip.apis.errors import UserError

_WHITE = (255, 255, 255, 255)
_DEEP_MODES = ('I', 'F', 'I;16', 'I;16L', 'I;16B', 'I;16N')


class UnreadableImageError(UserError):
    """A picture that cannot be read; the message names the file, the reason and what to do."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"cannot read picture '{path}': {reason}")
        self.path = Path(path)


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture file.

    Args:
        path: a file in any format that Pillow reads.

    Returns:
        Pixels as mmcv reads them: ``H x W x 3``, ``uint8``, channels in the order blue, green, red.

    Raises:
        UnreadableImageError: if the file is missing, empty, truncated, no picture, too large, or may not be read.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of its limit on; beyond the limit it raises, and only that stops us.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                return to_bgr(picture)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UnreadableImageError(
            path, f'more than {limit:,} pixels, which may be a decompression bomb. Scale it down or cut it into tiles.'
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(path, 'not a picture in a known format. Save it as PNG or JPEG.') from error
    except PermissionError as error:
        raise UnreadableImageError(path, f'no permission. Allow reading it (chmod u+r {path.name}).') from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(path, f'damaged or truncated ({reason}). Copy or download it again.') from error


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UnreadableImageError(path, 'it is a folder. Name a picture, for example one inside it.')
        if not path.is_file():
            raise UnreadableImageError(path, 'there is no such file. Check the spelling and the folder.')
        if path.stat().st_size == 0:
            raise UnreadableImageError(path, 'the file is empty (0 bytes). Copy or download it again.')
    except OSError as error:
        raise UnreadableImageError(path, f'{error.strerror or error}. Check the path.') from error


def to_bgr(image: np.ndarray | Image.Image) -> np.ndarray:
    """Bring pixels in memory into the form of :func:`read_image`.

    Args:
        image: a Pillow image of any mode, or an array as mmcv and OpenCV have it: ``H x W`` grey, ``H x W x 1``, BGR or
            BGRA; bool, 8-bit, 16-bit, or float in 0..1.

    Returns:
        ``H x W x 3`` BGR ``uint8``, contiguous.

    Raises:
        ValueError: if an array has another shape or type, or no pixels.
    """
    if isinstance(image, Image.Image):
        rgb = _to_rgb(ImageOps.exif_transpose(image))
        return np.ascontiguousarray(np.asarray(rgb)[..., ::-1])
    array = np.asarray(image)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise ValueError(
            f'a picture must be H x W, H x W x 3 (BGR) or H x W x 4 (BGRA) with at least one pixel, got {array.shape}.'
        )
    array = _to_uint8(array)
    if channels == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    elif channels == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(array)


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f'pixels must be bool, uint8, uint16 or float in 0..1, got {array.dtype}; convert to uint8.')
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f'float pixels must lie in 0..1, got {low:g}..{high:g}; divide by 255 or convert to uint8.')
    return (array * 255 + 0.5).astype(np.uint8)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_MODES:
        return Image.fromarray(_deep_to_uint8(picture)).convert('RGB')
    if picture.has_transparency_data:
        rgba = picture.convert('RGBA')
        return Image.alpha_composite(Image.new('RGBA', rgba.size, _WHITE), rgba).convert('RGB')
    return picture.convert('RGB')


def _deep_to_uint8(picture: Image.Image) -> np.ndarray:
    """Grey levels of more than eight bits, as the table of the module says."""
    values = np.asarray(picture)
    if picture.mode.startswith('I;16'):
        return _to_uint8(values.astype(np.uint16))
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    # Pillow opens some 16-bit files as 32-bit integers.
    if picture.mode == 'I' and low >= 0 and 255 < high <= 65535:
        return _to_uint8(values.astype(np.uint16))
    if picture.mode == 'F' and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low or 1))
    return (values + 0.5).astype(np.uint8)
