"""Pixels of decoded pictures: upright, 8-bit colour, whatever a file held.

=====================  ==========================================================================================
16-bit grey            divided by 257 (0..65535 becomes 0..255); the contrast is not stretched
float, 32-bit integer  as they are when within 0..1 or 0..255; otherwise the file's own range becomes 0..255
grey, 1-bit, palette   repeated over, or looked up in, three channels
transparency           laid over white, as browsers and image viewers do
EXIF orientation       applied: the array is upright
animation              first frame
CMYK, YCbCr, Lab       converted by Pillow
=====================  ==========================================================================================
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from PIL import Image

_WHITE = (255, 255, 255, 255)
_DEEP_MODES = ('I', 'F', 'I;16', 'I;16L', 'I;16B', 'I;16N')
_ORIENTATION = 0x0112
_SAYS_SO = ('exif', 'xmp', 'XML:com.adobe.xmp', 'Raw profile type exif')
_TURNS = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


def upright(picture: Image.Image) -> Image.Image:
    """A picture as its EXIF orientation says; the same picture where that says nothing.

    Pillow's ``exif_transpose`` also writes the EXIF data anew, which fails where one tag has an odd type, although the
    pixels are all right.
    """
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF that cannot be read turns nothing; viewers show such a picture as it lies
        turn = None
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    for key in _SAYS_SO:
        turned.info.pop(key, None)  # or it would be turned again
    return turned


def rgb_pixels(picture: Image.Image) -> np.ndarray:
    """A picture of any mode as ``H x W x 3``, ``uint8``, contiguous, upright, as the table of the module says."""
    return np.ascontiguousarray(np.asarray(_to_rgb(upright(picture))))


def deep_to_uint8(levels: np.ndarray) -> np.ndarray:
    """``uint16`` levels, 0..65535, as 0..255."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_MODES:
        return Image.fromarray(_deep_levels(picture)).convert('RGB')
    if picture.has_transparency_data:
        rgba = picture.convert('RGBA')
        return Image.alpha_composite(Image.new('RGBA', rgba.size, _WHITE), rgba).convert('RGB')
    return picture.convert('RGB')


def _deep_levels(picture: Image.Image) -> np.ndarray:
    """Grey levels of more than eight bits, as the table of the module says."""
    values = np.asarray(picture)
    if picture.mode.startswith('I;16'):
        return deep_to_uint8(values.astype(np.uint16))
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    # Pillow opens some 16-bit files as 32-bit integers.
    if picture.mode == 'I' and low >= 0 and 255 < high <= 65535:
        return deep_to_uint8(values.astype(np.uint16))
    if picture.mode == 'F' and low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values - low) * (255 / (high - low or 1))
    return (values + 0.5).astype(np.uint8)
