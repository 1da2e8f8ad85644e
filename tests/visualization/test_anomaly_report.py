"""The page of an inspection: words of users are text on it, whatever they hold; what is counted adds up."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.visualization.anomaly_report import Card, Report

PLAIN = 'data:image/jpeg;base64,AAAA'
LIMITS = SimpleNamespace(picture=0.5, pixel=0.4, how='three standard deviations')
WORDS = st.text(st.sampled_from('<>&"\'{}%#-/=\n a\x1b\u202e'), max_size=12).map(lambda text: f'<b>{text}')


class Page(HTMLParser):
    """Elements with their attributes, and the texts outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def report(word: str, scores: tuple[float, ...] = (0.9, 0.2)) -> Report:
    cards = [
        Card(word, f'/shots/{word}', score, 3.0, score >= 0.5, 1, 0.25, word, 'anomalous', PLAIN, PLAIN)
        for score in scores
    ]
    limits = SimpleNamespace(**{**vars(LIMITS), 'how': word})
    return Report(word, cards, limits, {'image_AUROC': 0.75, 'pixel_AUROC': float('nan')}, [word], [word])


@settings(deadline=None, max_examples=50)
@given(WORDS)
def test_words_are_text(word: str) -> None:
    plain, odd = Page(report('plain').html()), Page(report(word).html())
    assert odd.tags == plain.tags
    readable = word.replace('\x1b', '\\x1b').replace('\u202e', '\\u202e')
    joined = '\n'.join(odd.texts)
    assert joined.count(readable) >= 6 and f'Inspection: {readable}' in odd.texts
    assert {readable, readable.lower(), f'/shots/{readable}', f'heat map of {readable}'} <= {*odd.attributes}
    assert '\x1b' not in joined and '\u202e' not in joined


def test_bars_hold_every_picture_once() -> None:
    page = report('nut', (0.0, 0.04, 0.06, 0.5, 0.97, 1.0)).html()
    bars = report('nut', (0.0, 0.04, 0.06, 0.5, 0.97, 1.0))._histogram()
    assert [bar.pictures for bar in bars if bar.pictures] == [2, 1, 1, 2] and sum(bar.pictures for bar in bars) == 6
    assert [bar.hot for bar in bars] == [bar.low >= 0.5 for bar in bars] and max(bar.height for bar in bars) == 60
    assert page.count('class="hot"') == 10 and page.count('class="cool"') == 10
    assert '75.0 %' in page and 'nan' not in page


def test_a_verdict_against_the_label_is_marked() -> None:
    page = report('nut').html()
    assert page.count('class="label wrong"') == 1 and page.count('<figure class="normal miss"') == 1
    assert '1 area, 25.0 %' in page or '1 area, 25' in page
