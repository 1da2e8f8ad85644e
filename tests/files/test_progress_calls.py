"""Work says how far it is, piece after piece, or nothing where nobody asks."""

from __future__ import annotations

from denseclip.files.progress import after_each


def test_each_piece_is_counted() -> None:
    said: list[tuple[int, int | None]] = []
    tick = after_each(lambda *now: said.append(now), 3)
    assert tick is not None
    for _ in range(3):
        tick()
    assert said == [(1, 3), (2, 3), (3, 3)]
    assert after_each(None, 3) is None
