"""Small drawing helpers with smooth edges, which Pillow's own shapes lack."""

from __future__ import annotations

import functools

from PIL import Image, ImageDraw

from denseclip.visualization.fonts import Font

Color = tuple[int, ...]
_OVERSAMPLING = 4


@functools.lru_cache(maxsize=256)
def _rounded_mask(width: int, height: int, radius: int) -> Image.Image:
    scale = _OVERSAMPLING
    mask = Image.new('L', (width * scale, height * scale))
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius * scale, fill=255)
    return mask.resize((width, height), Image.Resampling.LANCZOS)


def fill_rounded(
    canvas: Image.Image, box: tuple[int, int, int, int], radius: int, color: Color, opacity: float = 1.0
) -> None:
    """Fill a rectangle with round corners.

    Args:
        canvas: RGB picture, changed in place.
        box: left, top, right, bottom (exclusive); an empty box draws nothing.
        radius: of the corners.
        color: RGB.
        opacity: 0..1.
    """
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return
    width, height = right - left, bottom - top
    mask = _rounded_mask(width, height, max(0, min(radius, width // 2, height // 2)))
    if opacity < 1:
        mask = mask.point([round(value * opacity) for value in range(256)])
    canvas.paste(color, (left, top), mask)


@functools.lru_cache(maxsize=4096)
def text_width(font: Font, text: str) -> int:
    """Advance width of a text in pixels."""
    return round(font.getlength(text))


def shorten(font: Font, text: str, limit: int) -> str:
    """The text, cut with an ellipsis so that it is at most ``limit`` pixels wide."""
    if text_width(font, text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(font, text[:middle].rstrip() + '…') <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + '…'


def wrap(font: Font, text: str, limit: int, max_lines: int = 3) -> list[str]:
    """Break a text at spaces into lines of at most ``limit`` pixels; what is too much ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(font, f'{lines[-1]} {word}') <= limit:
            lines[-1] += f' {word}'
        else:
            lines.append(word)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], ' '.join(lines[max_lines - 1 :])]
    return [shorten(font, line, limit) for line in lines]
