"""Where the tiles of a large picture lie."""

from __future__ import annotations


def tile_starts(length: int, side: int) -> list[int]:
    """First pixels of the fewest tiles of ``side`` pixels that cover ``length``, evenly spread, both ends touched.

    A length up to the side is one tile, up to twice the side two of them (AnoVL's VisA script), and so on.
    """
    count = -(-length // side)
    if count <= 1:
        return [0]
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def tile_boxes(size: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Top and left of the square tiles that cover a picture, row by row."""
    return [(top, left) for top in tile_starts(size[0], side) for left in tile_starts(size[1], side)]
