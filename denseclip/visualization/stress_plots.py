"""Plots of how a model stands stress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from denseclip.files.atomic import replacing

if TYPE_CHECKING:
    from denseclip.evaluation.reliability import Reliability


def draw_corruptions(path: Path, scores: Mapping[str, Mapping[int, float]], clean: float) -> None:
    """A line of mIoU over severities for each corruption.

    Args:
        path: PNG file to write.
        scores: mIoU in percent by corruption and severity.
        clean: mIoU of the pictures as they are; severity 0.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), dpi=110, layout='constrained')
    axes = figure.subplots()
    colours = colormaps['tab20']
    for number, (name, row) in enumerate(scores.items()):
        style = '-' if number % 2 == 0 else '--'
        axes.plot([0, *row], [clean, *row.values()], style, color=colours(number % 20), lw=1.3, label=name)
    axes.set(xlabel='severity', ylabel='mIoU', ylim=(0, None), xticks=range(6))
    figure.legend(loc='outside right upper', fontsize=7, frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format='png')


def draw_reliability(path: Path, found: Mapping[str, Reliability]) -> None:
    """Accuracy over confidence; on the diagonal confidences mean what they say.

    Args:
        path: PNG file to write.
        found: What to draw, by name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=110, layout='constrained')
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color='0.7', lw=1)
    for name, one in found.items():
        rows = one.rows()
        line = 2.0 if name == next(iter(found)) else 1.0
        axes.plot([r[0] for r in rows], [r[1] for r in rows], '.-', lw=line, label=f'{name}, ECE {one.error():.3f}')
    axes.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1), ylim=(0, 1), aspect='equal')
    axes.legend(fontsize=7, frameon=False)
    with replacing(path) as partial:
        figure.savefig(partial, format='png')
