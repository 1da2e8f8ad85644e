"""Pixels of decoded pictures: upright, 8-bit colour, whatever a file held.

=====================  ==========================================================================================
16-bit grey            divided by 257 (0..65535 becomes 0..255); the contrast is not stretched
12-bit TIFF            0..4095 becomes 0..255
32-bit integer         16-bit levels, which is what such files mostly hold; others are refused
float                  0..1 becomes 0..255, and what lies up to a half beyond is cut off; others are refused
grey, 1-bit, palette   repeated over, or looked up in, three channels
transparency           laid over white, as browsers and image viewers do
EXIF orientation       applied: the array is upright
animation              first frame
CMYK, YCbCr, Lab       converted by Pillow
=====================  ==========================================================================================

The range goes by the type of the file, never by the levels of one picture: pictures of a folder stay comparable.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
from PIL import Image

_NO_FORMATS = frozenset({'EPS', 'MPEG', 'HDF5', 'GRIB', 'BUFR', 'WMF', 'IPTC'})
"""Formats of Pillow that hold no pixels, or that it hands to other programs: a file of any name would start them."""
_BITS = 258  # tag of TIFF
_BEYOND = 0.5  # what resizing and sharpening add to floats of 0..1
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


class NoRangeError(ValueError):
    """Levels of a picture whose file does not tell what is black and what is white."""


def safe_formats() -> tuple[str, ...]:
    """Names of the formats of Pillow that are read, those of its plug-ins among them."""
    Image.init()
    return tuple(name for name in Image.ID if name not in _NO_FORMATS)


def open_safely(source: str | Path | IO[bytes], formats: tuple[str, ...] | None = None) -> Image.Image:
    """As ``Image.open``, which by itself would start Ghostscript for what calls itself a JPEG.

    Args:
        source: A file.
        formats: Fewer formats, as Pillow names them; None: :func:`safe_formats`.

    Raises:
        OSError: As Pillow does; ``UnidentifiedImageError`` for other formats.
    """
    return Image.open(source, formats=safe_formats() if formats is None else formats)


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
    """A picture of any mode as ``H x W x 3``, ``uint8``, contiguous, upright, as the table of the module says.

    Warns:
        UserWarning: Where the levels of 16 bits are those of 12, which looks nearly black.

    Raises:
        NoRangeError: If it holds numbers of no known range.
    """
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
    if picture.mode == 'F':
        return _of_floats(values)
    bits = getattr(picture, 'tag_v2', {}).get(_BITS, (16,))
    if bits == (12,):
        return ((values.astype(np.uint32) * 255 + 2047) // 4095).astype(np.uint8)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high > 65535:
        raise NoRangeError(f'its whole numbers of {low:,}..{high:,} are no levels of 16 bits. Save 8 or 16 bits')
    if 0 < high < 4096:
        warnings.warn(
            'a picture of 16 bits uses less than a sixteenth of their range and is nearly black: where a camera has '
            'written 12 bits or fewer, multiply its levels (12 bits: by 16), in all pictures alike.',
            UserWarning,
            stacklevel=2,
        )
    return deep_to_uint8(values.astype(np.uint16))


def _of_floats(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise NoRangeError(f'its numbers of {low:g}..{high:g} do not lie in 0..1. Scale them, or save 8 or 16 bits')
    return (values.clip(0, 1) * 255 + 0.5).astype(np.uint8)
