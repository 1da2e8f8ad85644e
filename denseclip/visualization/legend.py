"""The legend beside a picture: colour, name, share and a bar for every class found, largest first."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw

from denseclip.visualization.fonts import load_font
from denseclip.visualization.shapes import Color, fill_rounded, shorten, text_width, wrap

INK: Color = (31, 35, 40)
MUTED: Color = (112, 119, 130)
TRACK: Color = (232, 234, 238)


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        name: class name.
        color: RGB.
        share: part of the picture, 0..1.
        doubtful: whether the class is there by chance: its name is grey, with a question mark.
    """

    name: str
    color: Color
    share: float
    doubtful: bool = False

    @property
    def title(self) -> str:
        """What is written."""
        return f'{self.name} ?' if self.doubtful else self.name


@dataclass(frozen=True)
class Legend:
    """Entries and a closing note, laid out in columns of equal width.

    Attributes:
        entries: lines, in the order to show.
        note: small grey text under them, or ''.
        font_size: in pixels; everything else follows from it.
    """

    entries: Sequence[LegendEntry]
    note: str
    font_size: int

    @property
    def row_height(self) -> int:
        """Height of one entry."""
        return round(2.3 * self.font_size)

    @functools.cached_property
    def column_width(self) -> int:
        """Width that shows all names in full, as far as they have at most 60 letters or so."""
        font = load_font(self.font_size)
        widest = max((text_width(font, entry.title) for entry in self.entries), default=0)
        return min(max(widest, 5 * self.font_size), 36 * self.font_size) + 3 * self.font_size + self._share_width

    @functools.cached_property
    def _share_width(self) -> int:
        font = load_font(self.font_size)
        return max((text_width(font, format_share(entry.share)) for entry in self.entries), default=0)

    def size(self, columns: int, width: int | None = None) -> tuple[int, int]:
        """Width and height for a number of columns; ``width`` is the room for the note (default: below the entries)."""
        rows = ceil(len(self.entries) / columns)
        own = columns * self.column_width + (columns - 1) * 2 * self.font_size
        lines = len(self._note_lines(width or own))
        return own, rows * self.row_height + round(1.3 * self._note_size * (lines + 0.3) if lines else 0)

    @property
    def _note_size(self) -> int:
        return max(8, round(0.8 * self.font_size))

    def _note_lines(self, width: int) -> list[str]:
        return wrap(load_font(self._note_size), self.note, width, max_lines=24)

    def draw(self, canvas: Image.Image, left: int, top: int, columns: int, width: int) -> None:
        """Draw into an RGB picture.

        Args:
            canvas: changed in place.
            left: where the legend begins.
            top: where the legend begins.
            columns: as given to :meth:`size`.
            width: room for the note, in pixels.
        """
        rows = ceil(len(self.entries) / columns)
        step = self.column_width + 2 * self.font_size
        for index, entry in enumerate(self.entries):
            self._draw_entry(canvas, left + index // rows * step, top + index % rows * self.row_height, entry)
        y = top + rows * self.row_height + round(0.2 * self.font_size)
        for line in self._note_lines(width):
            ImageDraw.Draw(canvas).text((left, y), line, font=load_font(self._note_size), fill=MUTED)
            y += round(1.3 * self._note_size)

    def _draw_entry(self, canvas: Image.Image, left: int, top: int, entry: LegendEntry) -> None:
        size, width = self.font_size, self.column_width
        draw, font = ImageDraw.Draw(canvas), load_font(self.font_size)
        swatch = round(1.35 * size)
        middle = top + round(0.72 * size)
        fill_rounded(canvas, (left, top, left + swatch, top + swatch), max(2, swatch // 4), entry.color)
        text_left = left + swatch + round(0.65 * size)
        share = format_share(entry.share)
        room = left + width - text_left - self._share_width - size
        ink = MUTED if entry.doubtful else INK
        draw.text((text_left, middle), shorten(font, entry.title, room), font=font, fill=ink, anchor='lm')
        draw.text((left + width, middle), share, font=font, fill=MUTED, anchor='rm')
        bar_top, thickness = top + round(1.48 * size), max(2, round(0.2 * size))
        fill_rounded(canvas, (text_left, bar_top, left + width, bar_top + thickness), thickness, TRACK)
        end = text_left + max(thickness, round((left + width - text_left) * entry.share))
        fill_rounded(canvas, (text_left, bar_top, end, bar_top + thickness), thickness, entry.color)


def format_share(share: float) -> str:
    """A share as a percentage: one decimal, '< 0.1 %' for less, nothing rounded up to 100."""
    if 0 < share < 0.001:
        return '< 0.1 %'
    return f'{min(share * 100, 99.9) if share < 1 else 100:.1f} %'
