"""Masks as Label Studio's brush has them: the bits of rle-pack over the four channels of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SIZES = (3, 4, 8, 16)
"""Bits that lengths may have; a piece names one of them by its place."""

_CHANNELS = 4
"""Red, green, blue and alpha; the last one is the mask."""

_LONGEST = 2 ** _SIZES[-1]
LARGEST = 2**26
"""Pixels of the largest mask that is read."""


class BrushError(ValueError):
    """Numbers that are no brush."""


def encode_brush(mask: np.ndarray) -> list[int]:
    """A mask as a brush.

    Args:
        mask: Bool, shape (H, W), with at least one pixel.

    Returns:
        Bytes, 0..255.
    """
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])) * _CHANNELS
    parts = [f'{flat.size * _CHANNELS:032b}', f'{7:05b}', *(f'{size - 1:04b}' for size in _SIZES)]
    inside = bool(flat[0])
    for run in runs.tolist():
        value = '11111111' if inside else '00000000'
        while run:
            length = min(run, _LONGEST)
            place = next(k for k, size in enumerate(_SIZES) if length <= 2**size)
            parts.append(f'1{place:02b}{length - 1:0{_SIZES[place]}b}{value}')
            run -= length
        inside = not inside
    bits = np.frombuffer(''.join(parts).encode('ascii'), np.uint8) - ord('0')
    return np.packbits(bits).tolist()


def decode_brush(code: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask of a brush.

    Args:
        code: Bytes, 0..255.
        size: Height and width that it has.

    Returns:
        Bool, shape (H, W).

    Raises:
        BrushError: The numbers are no brush, or one of another size.
    """
    total = size[0] * size[1] * _CHANNELS
    if not 0 < total <= LARGEST * _CHANNELS:
        raise BrushError(f'it is of {size[0]} x {size[1]} pixels')
    try:
        bits = ''.join(f'{value:08b}' for value in bytes(code))
    except (TypeError, ValueError) as error:
        raise BrushError('its run lengths are no bytes') from error
    said = int(bits[:32] or '0', 2)
    if said != total:
        raise BrushError(f'its run lengths speak of {said} values, its size {size[0]} x {size[1]} of {total}')
    return _unpacked(bits, total).reshape(*size, _CHANNELS)[:, :, -1] > 0


def _unpacked(bits: str, total: int) -> np.ndarray:
    """Values of a brush; uint8."""
    word = int(bits[32:37], 2) + 1
    sizes = [int(bits[place : place + 4], 2) + 1 for place in range(37, 53, 4)]
    if word > 8:
        raise BrushError(f'its values have {word} bits')
    out = np.zeros(total, np.uint8)
    here, done = 53, 0
    while done < total:
        length_bits = sizes[int(bits[here + 1 : here + 3] or '0', 2)]
        start = here + 3 + length_bits
        length = int(bits[here + 3 : start] or '0', 2) + 1
        same = bits[here : here + 1] == '1'
        end = start + (word if same else word * length)
        if end > len(bits) or done + length > total:
            raise BrushError('its run lengths break off')
        if same:
            out[done : done + length] = int(bits[start:end], 2)
        else:
            out[done : done + length] = [int(bits[k : k + word], 2) for k in range(start, end, word)]
        here, done = end, done + length
    return out
