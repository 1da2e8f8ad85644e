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


def test_a_thousand_parts_are_a_small_page_whose_pictures_wait() -> None:
    links = {'heat': 'heatmaps/part.jpg', 'mask': 'masks/part.png', 'photo': '../shots/part.png'}
    cards = [
        Card(
            f'{k}.png',
            f'/shots/{k}.png',
            k / 1000,
            3.0,
            k >= 500,
            1,
            0.25,
            '',
            '',
            f'thumbnails/{k}.jpg',
            f'thumbnails/{k}_heat.jpg',
            'scratch 0.71, dent 0.12',
            links,
            (0.1, 0.2, 0.3, 0.4, 1.5),
        )  # fmt: skip
        for k in range(1000)
    ]
    page = Report('nut', cards, LIMITS, {}, [], []).html()
    assert len(page.encode()) < 2_500_000 and page.count('loading="lazy"') == 2000
    assert page.count('scratch 0.71') == 1000 and page.count('href="heatmaps/part.jpg"') == 1000
    assert page.count('data-drawn') >= 500 and page.count('<figure class="anomalous"') == 500
    assert Page(page).tags['dialog'] == 1 and 'prefers-color-scheme:dark' in page


def test_scores_that_tell_nothing_are_called_so() -> None:
    plain = report('nut').html()
    assert 'class="chance"' not in plain
    told = Report('nut', report('nut').cards, LIMITS, {}, [], [], 'method: batch', 'no better than <chance>').html()
    assert '<p class="chance">no better than &lt;chance&gt;</p>' in told and '<p>method: batch</p>' in told
