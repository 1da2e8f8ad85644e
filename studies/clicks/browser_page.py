"""The page of ``denseclip page``, offline: its labels are those of the runtime."""

from __future__ import annotations

import argparse
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import denseclip.runtime
from studies.clicks.visitor import Visitor

LEAST = 0.995
"""Part of the pixels that must have the runtime's label."""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing is written for each file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this page needs."""
    parser.add_argument('page', type=Path, help='folder of the page')
    parser.add_argument('pictures', type=Path, nargs='+', help='photographs')
    parser.add_argument('--words', default='temple; sky; trees')


def visit(visitor: Visitor, args: argparse.Namespace) -> None:
    """What a person does.

    Raises:
        RuntimeError: If too many pixels are labelled otherwise than the runtime labels them.
    """
    with _served(args.page) as address:
        visitor.opens(address)
        _hears(visitor, 'the model is loaded', 'Ready.')
        visitor.find('go').click()
        _hears(visitor, 'a form without a picture says so', 'Choose a photograph')
        visitor.chooses(args.pictures[0])
        visitor.types('sky; sky')
        _hears(visitor, 'words that cannot be used are told why', 'listed twice')
        model, shares = denseclip.runtime.load(args.page / 'model'), []
        for picture in args.pictures:
            visitor.chooses(picture)
            for words in ('; '.join(model.vocabulary.names), args.words):
                labels = _labels(visitor, words, picture)
                shares.append(float((labels == model.segment(picture, words).label_map).mean()))
                print(f'  {100 * shares[-1]:.3f} % of the pixels as the runtime labels them', flush=True)
        visitor.takes(args.out)
        visitor.reads_the_log()
    if min(shares) < LEAST:
        raise RuntimeError(f'{100 * min(shares):.3f} % of the pixels alone are as the runtime labels them')


def _hears(visitor: Visitor, what: str, text: str) -> None:
    visitor.sees(what, lambda: text in visitor.find('said').text)


def _labels(visitor: Visitor, words: str, picture: Path) -> np.ndarray:
    """The label map that the page saves."""
    visitor.types(words)
    visitor.sees(
        'the picture is labelled',
        lambda: visitor.find('go').is_enabled() and ' pixels, ' in visitor.find('said').text,
    )
    names = [word.partition('=')[0].strip() for word in words.split(';')]
    rows = "return [...document.querySelectorAll('#legend li')].map((row) => row.innerText).join(' ')"
    visitor.sees('the legend has every class', lambda: all(name in visitor.runs(rows) for name in names))
    print(f'  {visitor.find("said").text}')
    with Image.open(visitor.saves(f'{picture.stem}_labels.png', visitor.find('save-labels').click)) as saved:
        return np.asarray(saved.convert('RGB'))[..., 0]


@contextmanager
def _served(page: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(_Handler, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}/'
    finally:
        server.shutdown()
