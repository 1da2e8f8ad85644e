"""The page of ``denseclip serve``: refusals, legend, masks, downloads, two models side by side."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studies.clicks.visitor import Visitor

_SECONDS = 120
_SUM = """
const canvas = document.getElementById('canvas');
const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let sum = 0;
for (let k = 0; k < data.length; k += 97) sum = (sum * 31 + data[k]) % 1000003;
return sum;
"""
_PIXELS_OF_OBJECTS = """
const counts = found.objects.map(() => 0);
for (const number of owner) if (number >= 0) counts[number] += 1;
return found.objects.length > 0 && found.objects.every((object, number) => object.area === counts[number]);
"""
_ROWS = "return [...document.querySelectorAll('#legend li')].map((row) => row.innerText).join(' ')"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this page needs."""
    parser.add_argument('picture', type=Path, help='a photograph')
    parser.add_argument('--address', help='where a server listens; by default one is started')
    parser.add_argument('--runtime', type=Path, help='export that the started server serves (default: bundled model)')
    parser.add_argument('--port', type=int, default=8771, help='of the started server')
    parser.add_argument('--words', default='temple; sky; trees')
    parser.add_argument('--beside', help='a model that stands beside the first (serve --beside)')
    parser.add_argument('--compared', type=Path, help='PNG to write of two models')


def visit(visitor: Visitor, args: argparse.Namespace) -> None:
    """What a person does; each step is checked by what the page shows."""
    with _served(args) as address:
        visitor.opens(address)
        visitor.sees('the model is named', lambda: 'gives' in visitor.find('model').text)
        visitor.find('go').click()
        visitor.sees('a form without a picture says so', lambda: 'Choose a photograph' in visitor.find('said').text)
        visitor.chooses(args.picture)
        visitor.types('sky; sky')
        visitor.sees('words that cannot be used are told why', lambda: 'listed twice' in visitor.find('said').text)
        visitor.types(args.words)
        names = [word.partition('=')[0].strip() for word in args.words.split(';')]
        visitor.sees('the legend has every class', lambda: all(name in visitor.runs(_ROWS) for name in names))
        visitor.sees('shares are said', lambda: '%' in visitor.runs(_ROWS))
        visitor.sees('every pixel is where the masks say', lambda: visitor.runs(_PIXELS_OF_OBJECTS))
        if args.beside:
            _compare(visitor, args)
        _hide_and_show(visitor)
        for button, ending in (('Label map', '_labels.png'), ('COCO', '_coco.json'), ('labelme', '_labelme.json')):
            found = next(node for node in visitor.all('#saves button') if node.text.startswith(button))
            visitor.saves(args.picture.stem + ending, found.click)
        visitor.sees('the page is ready for more', lambda: 'is saved' in visitor.find('said').text)
        visitor.takes(args.out)
        visitor.reads_the_log(but=' 422 ')  # the words that were refused


def _hide_and_show(visitor: Visitor) -> None:
    coloured, boxes = visitor.runs(_SUM), visitor.all('#legend input')
    for box in boxes:
        box.click()
    visitor.sees('classes can be hidden', lambda: visitor.runs(_SUM) != coloured)
    for box in boxes:
        box.click()
    visitor.sees('and shown again', lambda: visitor.runs(_SUM) == coloured)


def _compare(visitor: Visitor, args: argparse.Namespace) -> None:
    """Put another model beside the first, move the border, and take it away again."""
    find = visitor.find
    choice = "const box = document.getElementById('beside'); box.value = arguments[0];"
    move = (
        "const bar = document.getElementById('split'); bar.value = arguments[0]; bar.dispatchEvent(new Event('input'));"
    )
    visitor.runs(choice, args.beside)
    find('go').click()
    visitor.sees('two models are named', lambda: find('compared').is_displayed() and args.beside in find('sides').text)
    visitor.sees('the legend has two shares', lambda: ' | ' in find('legend').text)
    sums = []
    for place in (0, 50, 100):
        visitor.runs(move, place)
        sums.append(visitor.runs(_SUM))
    visitor.sees('the border divides two results', lambda: len(set(sums)) == 3)
    visitor.runs(move, 50)
    visitor.takes(args.compared)
    visitor.runs(choice, '')
    find('go').click()
    visitor.sees('one model stands alone again', lambda: not find('compared').is_displayed())


@contextmanager
def _served(args: argparse.Namespace) -> Iterator[str]:
    """A server that answers: the one that is named, or one for this visit."""
    if args.address:
        yield args.address
        return
    model = ['--runtime', str(args.runtime)] if args.runtime else []
    beside = ['--beside', args.beside] if args.beside else []
    command = [sys.executable, '-m', 'denseclip', 'serve', *model, *beside, '--port', str(args.port)]
    address = f'http://127.0.0.1:{args.port}/'
    with subprocess.Popen(command) as server:
        try:
            end = time.monotonic() + _SECONDS
            while not _answers(address):
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f'the server does not answer at {address} (exit code {server.poll()})')
                time.sleep(0.2)
            yield address
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address + 'healthz', timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
