"""An inspection as one HTML file that needs nothing else: pictures inside, no network, readable without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from denseclip.visualization.legend import format_share
from denseclip.visualization.pages import template

_BARS = 20


class Limits(Protocol):
    """Thresholds as the report needs them, in calibrated scores."""

    @property
    def picture(self) -> float:
        """From which on a picture counts as anomalous."""

    @property
    def pixel(self) -> float:
        """From which on a pixel does."""

    @property
    def how(self) -> str:
        """How they were found."""


@dataclass(frozen=True)
class Card:
    """One picture of the report.

    Attributes:
        name: File name.
        path: File.
        score: Calibrated score, 0..1.
        raw: Raw score.
        anomalous: Whether the score reaches the threshold.
        regions: Number of areas above the pixel threshold.
        area: Their share of the picture, 0..1.
        label: What the folder says, in words; ``''`` for nothing.
        truth: ``'anomalous'``, ``'normal'`` or ``''``.
        photo: Thumbnail, as a data URL or a file beside the page.
        heat: The same with the heat map.
        words: What the areas look like, in words.
        links: Files of the picture by what they are: ``'heat'``, ``'mask'``, ``'photo'``.
        spot: Left, top, width and height of the hottest area, as shares of the picture, and its aspect ratio.
    """

    name: str
    path: str
    score: float
    raw: float
    anomalous: bool
    regions: int
    area: float
    label: str
    truth: str
    photo: str
    heat: str
    words: str = ''
    links: Mapping[str, str] = field(default_factory=dict)
    spot: tuple[float, float, float, float, float] | None = None

    @property
    def spot_style(self) -> str:
        """Where the hottest area lies in the frame of a thumbnail, whose picture keeps its aspect ratio, as CSS."""
        assert self.spot is not None
        left, top, width, height, aspect = self.spot
        # The frame is 190 pixels high and as wide as its column: the picture's width follows from either.
        wide = f'min(100cqw, {190 * aspect:.2f}px)'
        high = f'min(190px, {100 / aspect:.3f}cqw)'
        return (
            f'left:calc(50cqw + ({left:.4f} - .5) * {wide});top:calc(95px + ({top:.4f} - .5) * {high});'
            f'width:calc({width:.4f} * {wide});height:calc({height:.4f} * {high})'
        )

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return 'anomalous' if self.anomalous else 'normal'

    @property
    def areas(self) -> str:
        """The areas in words."""
        plural = '' if self.regions == 1 else 's'
        return f'{self.regions} area{plural}, {format_share(self.area)}' if self.regions else 'no area'

    @property
    def wrong(self) -> bool:
        """Whether the verdict contradicts the label."""
        return bool(self.truth) and (self.truth == 'anomalous') != self.anomalous


class Bar(NamedTuple):
    """Pictures whose scores lie between two.

    Attributes:
        low: Least score.
        high: Score that is too high.
        pictures: Their number.
        height: Of the drawn bar, in pixels.
        hot: Whether they count as anomalous.
    """

    low: float
    high: float
    pictures: int
    height: float
    hot: bool


@dataclass(frozen=True)
class Report:
    """The report of an inspection.

    Attributes:
        object_name: What the pictures show.
        cards: Pictures, highest score first.
        limits: Thresholds.
        measures: Measures against the labels, 0..1; empty without labels.
        notes: What is not measured and why, one line each.
        failures: Pictures that could not be read, one line each.
        method: How defects were looked for, in a line.
        chance: That the scores tell nothing, in a sentence; ``''`` where they do, or nobody knows.
    """

    object_name: str
    cards: Sequence[Card]
    limits: Limits
    measures: Mapping[str, float]
    notes: Sequence[str]
    failures: Sequence[str]
    method: str = ''
    chance: str = ''

    def html(self) -> str:
        """The whole page."""
        limits, count = self.limits, len(self.cards)
        measured = {name: value for name, value in self.measures.items() if not math.isnan(value)}
        facts = {
            'pictures': str(count),
            'anomalous': str(sum(card.anomalous for card in self.cards)),
            'threshold': f'{limits.picture:.2f}',
            **{name.replace('_', ' '): f'{100 * value:.1f} %' for name, value in measured.items()},
        }
        return template('anomaly_report.html').render(
            title=f'Inspection: {self.object_name}',
            facts=facts,
            live={'anomalous': 'hot', 'threshold': 'at'},
            limit=limits.picture,
            method=self.method,
            chance=self.chance,
            bars=self._histogram(),
            line=20 * _BARS * limits.picture,
            how=f'Thresholds: pictures {limits.picture:.3f}, pixels {limits.pixel:.3f} ({limits.how}).',
            cards=self.cards,
            lists={'Notes': self.notes, f'Not readable: {len(self.failures)}': self.failures},
        )

    def _histogram(self) -> list[Bar]:
        """How many pictures have which score."""
        counts = [0] * _BARS
        for card in self.cards:
            counts[min(int(card.score * _BARS), _BARS - 1)] += 1
        highest = max([*counts, 1])
        edges = [index / _BARS for index in range(_BARS + 1)]
        return [
            Bar(low, high, count, 60 * count / highest, (low + high) / 2 >= self.limits.picture)
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
