"""The report of ``denseclip anomaly``: thresholds, filters, enlarged pictures by click and by key."""

from __future__ import annotations

import argparse
from pathlib import Path

from studies.clicks.visitor import Visitor

_SLIDE = """
const bar = document.getElementById('limit'); bar.value = arguments[0]; bar.dispatchEvent(new Event('input'));
"""
_CHOOSE = """
const box = document.getElementById(arguments[0]); box.value = arguments[1]; box.dispatchEvent(new Event('input'));
"""
_SHOWN = "return [...document.querySelectorAll('figure')].filter((card) => !card.hidden).length"
_FLAGGED = "return [...document.querySelectorAll('figure.anomalous')].map((card) => +card.dataset.score)"
_SCORES = "return [...document.querySelectorAll('figure')].map((card) => +card.dataset.score)"
_SPOTS = """
return [...document.querySelectorAll('figure.anomalous')].filter((card) => !('drawn' in card.dataset)).every((card) =>
  card.querySelector('.spot') && getComputedStyle(card.querySelector('.spot')).display === 'block');
"""
_LOADED = "const big = document.getElementById('big'); return big.complete && big.naturalWidth > 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this page needs."""
    parser.add_argument('folder', type=Path, help='what denseclip anomaly wrote')


def visit(visitor: Visitor, args: argparse.Namespace) -> None:
    """What an inspector does; each step is checked by what the page shows."""
    visitor.opens((args.folder / 'report.html').resolve().as_uri())
    cards, scores = len(visitor.all('figure')), visitor.runs(_SCORES)
    visitor.sees('every part has a card', lambda: cards == len(scores) > 1 and visitor.runs(_SHOWN) == cards)
    visitor.sees('the highest score comes first', lambda: scores == sorted(scores, reverse=True))
    middle = scores[len(scores) // 2]
    for limit in (0.0, middle, 1.0):
        _slide(visitor, limit, scores)
    visitor.runs(_SLIDE, middle)
    flagged = len(visitor.runs(_FLAGGED))
    visitor.runs(_CHOOSE, 'show', 'anomalous')
    visitor.sees('flagged parts alone can be shown', lambda: visitor.runs(_SHOWN) == flagged)
    visitor.runs(_CHOOSE, 'show', '')
    _enlarge(visitor)
    visitor.takes(args.out)
    visitor.reads_the_log()


def _slide(visitor: Visitor, limit: float, scores: list[float]) -> None:
    visitor.runs(_SLIDE, limit)
    at = visitor.runs("return +document.getElementById('limit').value")
    right = sorted(score for score in scores if score >= at)
    visitor.sees(f'at {at:.3f} {len(right)} parts are flagged', lambda: sorted(visitor.runs(_FLAGGED)) == right)
    visitor.sees('their number is said', lambda: visitor.find('hot').text == str(len(right)))
    visitor.sees('each flagged part shows where', lambda: visitor.runs(_SPOTS))


def _enlarge(visitor: Visitor) -> None:
    title = visitor.find('title')
    visitor.all('figure .pictures')[0].click()
    visitor.sees('a click enlarges a picture', lambda: visitor.find('large').is_displayed() and 'heat' in title.text)
    visitor.sees('which is there', lambda: visitor.runs(_LOADED))
    first = title.text
    visitor.presses('ARROW_RIGHT')
    visitor.sees('an arrow goes to the next', lambda: title.text != first)
    visitor.presses('ARROW_LEFT')
    visitor.sees('and back', lambda: title.text == first)
    visitor.presses(' ')
    visitor.sees('the space bar compares with the photo', lambda: 'photo' in title.text)
    visitor.sees('which is there, too', lambda: visitor.runs(_LOADED))
    visitor.presses('ESCAPE')
    visitor.sees('Escape closes it', lambda: not visitor.find('large').is_displayed())
