"""Click through the page of ``denseclip page`` in a real browser, offline, and compare its labels with the runtime's.

python -m studies.browser_page page street.jpg other.png --words "temple; sky; trees" --out page.png

Needs selenium, and a Chromium with its driver (``apt-get install chromium chromium-driver``). The page is served from
this machine; the browser may reach nothing else.
"""

import argparse
import functools
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import denseclip.runtime

_SECONDS = 120
_LEAST = 0.995


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing is written for each file."""


def main(argv: list[str] | None = None) -> int:
    """Do it; the exit code says whether everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('page', type=Path, help='folder of the page')
    parser.add_argument('pictures', type=Path, nargs='+', help='photographs')
    parser.add_argument('--words', default='temple; sky; trees')
    parser.add_argument('--browser', default='/usr/bin/chromium')
    parser.add_argument('--driver', default='/usr/bin/chromedriver')
    parser.add_argument('--out', type=Path, help='PNG to write')
    args = parser.parse_args(argv)
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(_Handler, directory=str(args.page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_address[1]}/'
    with tempfile.TemporaryDirectory() as folder:
        browser = _browser(args.browser, args.driver, folder)
        try:
            shares = _click_through(browser, address, args, Path(folder))
        finally:
            browser.quit()
            server.shutdown()
    return 0 if min(shares) >= _LEAST else 1


def _browser(binary: str, driver: str, folder: str) -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = binary
    only_here = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
    for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--window-size=1360,860', only_here):
        options.add_argument(word)
    options.add_experimental_option('prefs', {'download.default_directory': folder})
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    return webdriver.Chrome(options, Service(driver))


class _Visitor:
    """A person at the page; each step is checked by what the page shows.

    Args:
        browser: Chromium.
        folder: Where it puts what is saved.
    """

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder

    def find(self, name: str) -> Any:
        return self.browser.find_element('id', name)

    def wait(self, what: str, condition: Any) -> None:
        end = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'not seen within {_SECONDS} s: {what}; the page says "{self.find("said").text}"')
            time.sleep(0.05)
        print(f'seen: {what}', flush=True)

    def hears(self, what: str, text: str) -> None:
        self.wait(what, lambda: text in self.find('said').text)

    def chooses(self, picture: Path) -> None:
        self.find('image').send_keys(str(picture.resolve()))
        self.wait(f'{picture.name} is chosen', lambda: picture.name in self.find('chosen').text)

    def types(self, words: str) -> None:
        self.find('words').clear()
        self.find('words').send_keys(words)
        self.find('go').click()

    def labels(self, words: str, picture: Path) -> np.ndarray:
        """The label map that the page saves."""
        self.types(words)
        self.wait(
            'the picture is labelled', lambda: self.find('go').is_enabled() and ' pixels, ' in self.find('said').text
        )
        names = [word.partition('=')[0].strip() for word in words.split(';')]
        rows = "return [...document.querySelectorAll('#legend li')].map((row) => row.innerText).join(' ')"
        self.wait('the legend has every class', lambda: all(n in self.browser.execute_script(rows) for n in names))
        print(f'  {self.find("said").text}')
        file = self.folder / f'{picture.stem}_labels.png'
        file.unlink(missing_ok=True)
        self.find('save-labels').click()
        self.wait(f'{file.name} is saved', lambda: file.is_file() and file.stat().st_size > 60)
        with Image.open(file) as saved:
            return np.asarray(saved.convert('RGB'))[..., 0]


def _click_through(browser: Any, address: str, args: argparse.Namespace, folder: Path) -> list[float]:
    """What a person does; shares of pixels that are labelled as the runtime labels them."""
    visitor = _Visitor(browser, folder)
    browser.get(address)
    visitor.hears('the model is loaded', 'Ready.')
    visitor.find('go').click()
    visitor.hears('a form without a picture says so', 'Choose a photograph')
    visitor.chooses(args.pictures[0])
    visitor.types('sky; sky')
    visitor.hears('words that cannot be used are told why', 'listed twice')
    model, shares = denseclip.runtime.load(args.page / 'model'), []
    for picture in args.pictures:
        visitor.chooses(picture)
        for words in ('; '.join(model.vocabulary.names), args.words):
            labels = visitor.labels(words, picture)
            shares.append(float((labels == model.segment(picture, words).label_map).mean()))
            print(f'  {100 * shares[-1]:.3f} % of the pixels as the runtime labels them', flush=True)
    if args.out is not None:
        browser.save_screenshot(str(args.out))
    entries = [entry['message'] for entry in browser.get_log('browser') if entry['level'] == 'SEVERE']
    if entries:
        raise RuntimeError(f'the browser complains: {entries}')
    print('seen: nothing in the log of the browser')
    return shares


if __name__ == '__main__':
    sys.exit(main())
