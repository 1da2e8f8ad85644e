"""Pictures that strangers send: known formats alone, and no more pixels than are allowed."""

from __future__ import annotations

from pathlib import PurePosixPath

from denseclip.apis.images import Picture, TooManyPixelsError, UnreadableImageError
from denseclip.files.names import shown
from denseclip.serving.limits import Limits
from denseclip.serving.problems import Problem

FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
"""Formats that are decoded. Others of Pillow start programs (EPS) or are hardly looked after."""
_LONGEST = 100
_MAX_ASPECT = 16  # longer strips are extended before they are looked at, which costs as many pixels


def read_picture(data: bytes, filename: str | None, limits: Limits) -> Picture:
    """Read an uploaded picture.

    Args:
        data: Its file.
        filename: What the sender calls it; it is shown in sentences, and no more.
        limits: How large it may be.

    Raises:
        Problem: If it cannot be read, or is too large.
    """
    name = label_of(filename)
    try:
        picture = Picture.of_bytes(data, name, FORMATS, limits.pixels)
    except TooManyPixelsError as error:
        raise _too_large(name, limits) from error
    except UnreadableImageError as error:
        sentence = str(error).replace('(seek(0))', '').replace('Copy or download it again', 'Send it again')
        if 'no bytes' in sentence:
            sentence = f"picture '{name}' is empty (0 bytes): send the file's content."
        if 'known format' in sentence:
            sentence = f"'{name}' is no picture in a known format: send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        status = 413 if 'decompression bomb' in sentence else 422
        raise Problem(status, sentence) from error
    height, width = picture.rgb.shape[:2]
    if max(height, -(-width // _MAX_ASPECT)) * max(width, -(-height // _MAX_ASPECT)) > limits.pixels:
        raise Problem(413, f"picture '{name}' is a strip of {width:,} x {height:,} pixels: cut it into shorter ones.")
    return picture


def check_strip(picture: Picture) -> None:
    """Refuse strips for models that bring the shorter side to a size of their own, which makes the longer one huge.

    Raises:
        Problem: Then.
    """
    height, width = picture.rgb.shape[:2]
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise Problem(
            422,
            f'the picture is a strip of {width:,} x {height:,} pixels, and defects are looked for in pictures up to '
            f'{_MAX_ASPECT} : 1: cut it into shorter ones.',
        )


def _too_large(name: str, limits: Limits) -> Problem:
    return Problem(
        413,
        f"picture '{name}' has more pixels than the {limits.pixels:,} that this server takes (--max-megapixels): scale "
        'it down.',
    )


def label_of(filename: str | None) -> str:
    """A name to show: the last part of what the sender says, short, without control characters."""
    last = PurePosixPath((filename or '').replace('\\', '/')).name
    return shown(last)[:_LONGEST] or 'picture.png'
