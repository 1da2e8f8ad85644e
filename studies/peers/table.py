"""What a row gave, and its line of the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from studies.peers.rows import Row


@dataclass(frozen=True)
class Further:
    """The suite's side in another precision than float32.

    Attributes:
        cpu: CPU seconds of its runs.
        equal: Share of answers equal to the peer's, which computes in float32, 0..1; see :func:`agreement`.
    """

    cpu: tuple[float, ...]
    equal: float


@dataclass(frozen=True)
class Result:
    """What a row gave.

    Attributes:
        row: The row.
        classes: Number of words.
        theirs: CPU seconds of the peer's runs.
        ours: CPU seconds of the suite's in float32.
        extra: Bytes above the loaded model, the peer's and the suite's in float32.
        equal: Share of equal answers, 0..1; see :func:`agreement`.
        further: What was measured in each further precision; None where the row has none or the model refused it.
    """

    row: Row
    classes: int
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    extra: tuple[int, int]
    equal: float
    further: tuple[Further | None, ...] = ()

    def line(self) -> str:
        """A line of the table."""
        times = [median(values) for values in (self.theirs, self.ours)]
        memory = ' / '.join(f'{value / 2**20:.0f}' for value in self.extra)
        cells = [
            f'{self.row.name} ({self.row.source})',
            f'{self.row.shape}{", " + self.row.note if self.row.note else ""}',
            str(self.classes) if self.classes else '',
            f'{times[0]:.2f} / {times[1]:.2f}',
            f'{times[0] / times[1]:.2f}',
            memory,
            _share(self.equal),
        ]
        for side in self.further:
            if side is None:
                cells += [''] * 3
            else:
                cells += [f'{median(side.cpu):.2f}', f'{times[0] / median(side.cpu):.2f}', _share(side.equal)]
        return f'| {" | ".join(cells)} |'


def _share(equal: float) -> str:
    return 'one label alone' if math.isnan(equal) else f'{100 * equal:.2f} %'


def heading(further: Sequence[str]) -> str:
    """The table's first two lines, with three columns for each further precision."""
    columns = ['K', 'CPU s, theirs / ours', 'Ratio', 'MB above the model, theirs / ours', 'Equal']
    for precision in further:
        columns += [f'CPU s, ours in {precision}', f'Ratio, {precision}', f'Equal, {precision}']
    rules = ['---', '---', *['---:'] * len(columns)]
    return f'| {" | ".join(["Peer", "Input", *columns])} |\n| {" | ".join(rules)} |'


def agreement(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Share of answers that are equal: labels alike, values within a thousandth of the range of theirs.

    A single value, as of a loss, is held against its own size. Not a number where theirs are all one label: that both
    sides say so is no evidence.

    Raises:
        RuntimeError: If the shapes differ.
    """
    if theirs.shape != ours.shape:
        raise RuntimeError(f'theirs has the shape {theirs.shape}, ours {ours.shape}')
    if theirs.size > 1 and theirs.min() == theirs.max():
        return math.nan
    if theirs.dtype.kind in 'iu':
        return float((theirs == ours).mean())
    span = theirs.max() - theirs.min() if theirs.size > 1 else abs(theirs).max()
    return float((np.abs(theirs - ours) <= 1e-3 * span).mean())
