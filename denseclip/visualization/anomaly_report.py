"""An inspection as one HTML file that needs nothing else: pictures inside, no network, readable without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Protocol

from denseclip.files.names import shown
from denseclip.visualization.legend import format_share

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
        photo: Thumbnail as a data URL.
        heat: The same with the heat map.
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

    @property
    def wrong(self) -> bool:
        """Whether the verdict contradicts the label."""
        return bool(self.truth) and (self.truth == 'anomalous') != self.anomalous


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
    """

    object_name: str
    cards: Sequence[Card]
    limits: Limits
    measures: Mapping[str, float]
    notes: Sequence[str]
    failures: Sequence[str]

    def html(self) -> str:
        """The whole page."""
        flagged = sum(card.anomalous for card in self.cards)
        title = f'Inspection: {_text(self.object_name)}'
        facts = [
            _fact(str(len(self.cards)), 'pictures'),
            _fact(str(flagged), 'anomalous'),
            _fact(f'{self.limits.picture:.2f}', 'threshold'),
            *(_fact(f'{100 * v:.1f} %', k.replace('_', ' ')) for k, v in self.measures.items() if not math.isnan(v)),
        ]
        return _PAGE.format(
            title=title,
            style=_STYLE,
            script=_SCRIPT,
            facts=''.join(facts),
            how=_text(
                f'Thresholds: pictures {self.limits.picture:.3f}, pixels {self.limits.pixel:.3f} ({self.limits.how}).'
            ),
            histogram=self._histogram(),
            cards='\n'.join(map(_card, self.cards)),
            failures=self._notes() + self._failures(),
        )

    def _limits(self) -> str:
        limits = self.limits
        return f'Thresholds: pictures {limits.picture:.3f}, pixels {limits.pixel:.3f} ({limits.how}).'

    def _histogram(self) -> str:
        """How many pictures have which score, as an inline drawing; what is above the threshold is coloured."""
        counts = [0] * _BARS
        for card in self.cards:
            counts[min(int(card.score * _BARS), _BARS - 1)] += 1
        highest = max([*counts, 1])
        bars = []
        for index, count in enumerate(counts):
            height = 60 * count / highest
            kind = 'hot' if (index + 0.5) / _BARS >= self.limits.picture else 'cool'
            bars.append(
                f'<rect class="{kind}" x="{index * 20 + 1}" y="{64 - height:.1f}" width="18" height="{height:.1f}">'
                f'<title>{index / _BARS:.2f} to {(index + 1) / _BARS:.2f}: {count}</title></rect>'
            )
        line = 20 * _BARS * self.limits.picture
        return (
            f'<svg viewBox="0 0 {20 * _BARS} 82" role="img" aria-label="histogram of scores">{"".join(bars)}'
            f'<line x1="{line:.1f}" x2="{line:.1f}" y1="0" y2="66"/>'
            f'<text x="0" y="79">0</text><text x="{10 * _BARS}" y="79" text-anchor="middle">score</text>'
            f'<text x="{20 * _BARS}" y="79" text-anchor="end">1</text></svg>'
        )

    def _notes(self) -> str:
        if not self.notes:
            return ''
        lines = ''.join(f'<li>{_text(line)}</li>' for line in self.notes)
        return f'<section class="failures"><h2>Notes</h2><ul>{lines}</ul></section>'

    def _failures(self) -> str:
        if not self.failures:
            return ''
        lines = ''.join(f'<li>{_text(line)}</li>' for line in self.failures)
        return f'<section class="failures"><h2>Not readable: {len(self.failures)}</h2><ul>{lines}</ul></section>'


def _text(value: str) -> str:
    """Text of a user's as text of the page: no markup, and control characters as escapes, for HTML has none of them."""
    return escape(shown(value, keep='\n\t'))


def _fact(value: str, what: str) -> str:
    return f'<div class="fact"><b>{_text(value)}</b><span>{_text(what)}</span></div>'


def _card(card: Card) -> str:
    kind = 'anomalous' if card.anomalous else 'normal'
    label = f'<span class="label{" wrong" if card.wrong else ""}">{_text(card.label)}</span>' if card.label else ''
    areas = 'no area'
    if card.regions:
        areas = f'{card.regions} area{"" if card.regions == 1 else "s"}, {format_share(card.area)}'
    name, path = _text(card.name), _text(card.path)
    return (
        f'<figure class="{kind}{" miss" if card.wrong else ""}" data-name="{_text(card.name.lower())}">'
        f'<div class="pictures"><img class="heat" src="{card.heat}" alt="heat map of {name}" loading="lazy">'
        f'<img class="photo" src="{card.photo}" alt="{name}" loading="lazy"></div>'
        f'<figcaption><div class="line"><span class="name" title="{path}">{name}</span>'
        f'<b>{card.score:.3f}</b></div><div class="bar"><i style="width:{100 * card.score:.1f}%"></i></div>'
        f'<div class="line small"><span>{kind}, {areas}</span>{label}</div>'
        f'<div class="small">raw {card.raw:.6g}</div></figcaption></figure>'
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head><body>
<header><h1>{title}</h1><div class="facts">{facts}</div>{histogram}
<p>{how} Point at a picture to see it without the heat map.</p>
<div class="tools"><label>Show <select id="show"><option value="">all</option>
<option value="anomalous">anomalous</option><option value="normal">normal</option>
<option value="miss">contradicting the label</option></select></label>
<label>Name <input id="name" type="search" placeholder="part of a file name"></label>
<label>Order <select id="order"><option value="1">highest score first</option>
<option value="-1">lowest score first</option></select></label>
<output id="count"></output></div></header>
<main id="cards">
{cards}
</main>
{failures}
<script>{script}</script></body></html>
"""

_STYLE = """
:root{--ink:#1f2328;--muted:#6b7280;--paper:#fff;--card:#fff;--line:#e5e7eb;--hot:#c2410c;--cool:#94a3b8;--ground:#f5f6f8}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--muted:#9aa3ad;--paper:#15181c;--card:#1d2126;--line:#30363d;
--hot:#fb923c;--cool:#64748b;--ground:#101317}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
header{background:var(--paper);border-bottom:1px solid var(--line);padding:20px clamp(12px,3vw,36px)}
h1{font-size:22px;margin:0 0 12px}h2{font-size:17px}p{color:var(--muted);margin:8px 0}
.facts{display:flex;flex-wrap:wrap;gap:8px 28px;margin-bottom:10px}.fact b{display:block;font-size:20px}
.fact span{color:var(--muted);font-size:13px}svg{display:block;width:min(100%,420px);height:auto}
svg .hot{fill:var(--hot)}svg .cool{fill:var(--cool)}svg line{stroke:var(--ink);stroke-dasharray:3 3}
svg text{fill:var(--muted);font-size:11px}.tools{display:flex;flex-wrap:wrap;gap:10px 20px;align-items:center}
select,input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:6px;
padding:4px 8px}
output{color:var(--muted)}main{display:grid;gap:14px;padding:18px clamp(12px,3vw,36px);
grid-template-columns:repeat(auto-fill,minmax(210px,1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden}
figure.anomalous{border-top:3px solid var(--hot)}figure.normal{border-top:3px solid var(--cool)}
figure[hidden]{display:none}.pictures{position:relative;height:190px;background:#0b0d10}
.pictures img{position:absolute;inset:0;width:100%;height:100%;object-fit:contain}
.photo{opacity:0}.pictures:hover .photo{opacity:1}.pictures:hover .heat{opacity:0}
figcaption{padding:9px 12px 11px}.line{display:flex;justify-content:space-between;gap:10px}
.name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.small{font-size:13px;color:var(--muted)}
.bar{height:5px;border-radius:3px;background:var(--line);margin:6px 0;overflow:hidden}.bar i{display:block;height:100%;
background:var(--cool)}.anomalous .bar i{background:var(--hot)}.label.wrong{color:var(--hot);font-weight:600}
.failures{padding:0 clamp(12px,3vw,36px) 24px}@media print{.tools{display:none}}
"""

_SCRIPT = """
const cards=[...document.querySelectorAll('figure')],box=document.getElementById('cards');
const show=document.getElementById('show'),name=document.getElementById('name'),order=document.getElementById('order');
function update(){let n=0;for(const c of cards){const on=(!show.value||c.classList.contains(show.value))
&&c.dataset.name.includes(name.value.toLowerCase());c.hidden=!on;n+=on}
document.getElementById('count').textContent=n+' of '+cards.length;
box.append(...(order.value==='1'?cards:[...cards].reverse()))}
for(const e of [show,name,order])e.addEventListener('input',update);update();
"""
