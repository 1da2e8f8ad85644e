"""Click through the page of ``denseclip serve`` in a real browser, and take its picture.

python -m studies.serve_page http://127.0.0.1:8000/ street.jpg --words "temple; sky; trees" --out page.png

Needs selenium, and a Chromium with its driver (``apt-get install chromium chromium-driver``). The server must be up.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SECONDS = 60
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


def main(argv: list[str] | None = None) -> int:
    """Do it; the exit code says whether everything was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('address', help='where the server listens')
    parser.add_argument('picture', type=Path, help='a photograph')
    parser.add_argument('--words', default='temple; sky; trees')
    parser.add_argument('--browser', default='/usr/bin/chromium')
    parser.add_argument('--driver', default='/usr/bin/chromedriver')
    parser.add_argument('--beside', help='a model that stands beside the first (serve --beside)')
    parser.add_argument('--out', type=Path, help='PNG to write')
    parser.add_argument('--compared', type=Path, help='PNG to write of two models')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        browser = _browser(args.browser, args.driver, folder)
        try:
            steps = _click_through(browser, args, Path(folder))
            if args.out is not None:
                browser.save_screenshot(str(args.out))
        finally:
            browser.quit()
    for step in steps:
        print(f'seen: {step}')
    return 0


def _browser(binary: str, driver: str, folder: str) -> Any:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = binary
    for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--window-size=1360,860'):
        options.add_argument(word)
    options.add_experimental_option('prefs', {'download.default_directory': folder})
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    return webdriver.Chrome(options, Service(driver))


def _click_through(browser: Any, args: argparse.Namespace, folder: Path) -> list[str]:
    """What a person does; each step is checked by what the page shows."""
    seen = []

    def find(name: str) -> Any:
        return browser.find_element('id', name)

    def wait(what: str, condition: Any) -> None:
        end = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'not seen within {_SECONDS} s: {what}; the page says "{find("said").text}"')
            time.sleep(0.1)
        seen.append(what)

    browser.get(args.address)
    wait('the model is named', lambda: 'gives' in find('model').text)
    find('go').click()
    wait('a form without a picture says so', lambda: 'Choose a photograph' in find('said').text)
    find('image').send_keys(str(args.picture.resolve()))
    wait('the chosen file is named', lambda: args.picture.name in find('chosen').text)
    find('words').clear()
    find('words').send_keys('sky; sky')
    find('go').click()
    wait('words that cannot be used are told why', lambda: 'listed twice' in find('said').text)
    find('words').clear()
    find('words').send_keys(args.words)
    find('go').click()
    names = [word.partition('=')[0].strip() for word in args.words.split(';')]
    rows = "return [...document.querySelectorAll('#legend li')].map((row) => row.innerText)"
    wait('the legend has every class', lambda: all(n in ' '.join(browser.execute_script(rows)) for n in names))
    wait('shares are said', lambda: '%' in ' '.join(browser.execute_script(rows)))
    wait('every pixel is where the masks say', lambda: browser.execute_script(_PIXELS_OF_OBJECTS))
    if args.beside:
        _compare(browser, find, wait, args)
    coloured = browser.execute_script(_SUM)
    boxes = browser.find_elements('css selector', '#legend input')
    for box in boxes:
        box.click()
    wait('classes can be hidden', lambda: browser.execute_script(_SUM) != coloured)
    for box in boxes:
        box.click()
    wait('and shown again', lambda: browser.execute_script(_SUM) == coloured)
    for button, ending in (('Label map', '_labels.png'), ('COCO', '_coco.json'), ('labelme', '_labelme.json')):
        file = folder / (args.picture.stem + ending)
        for found in browser.find_elements('css selector', '#saves button'):
            if found.text.startswith(button):
                found.click()
        wait(f'{file.name} is saved', lambda file=file: file.is_file() and file.stat().st_size > 100)
    wait('the page is ready for more', lambda: 'is saved' in find('said').text)
    entries = [entry['message'] for entry in browser.get_log('browser') if entry['level'] == 'SEVERE']
    faults = [message for message in entries if ' 422 ' not in message]  # the words that were refused
    if faults:
        raise RuntimeError(f'the browser complains: {faults}')
    seen.append('nothing in the log of the browser')
    return seen


def _compare(browser: Any, find: Any, wait: Any, args: argparse.Namespace) -> None:
    """Put another model beside the first, move the border, and take it away again."""
    choice = "const box = document.getElementById('beside'); box.value = arguments[0];"
    move = (
        "const bar = document.getElementById('split'); bar.value = arguments[0]; bar.dispatchEvent(new Event('input'));"
    )
    browser.execute_script(choice, args.beside)
    find('go').click()
    wait('two models are named', lambda: find('compared').is_displayed() and args.beside in find('sides').text)
    wait('the legend has two shares', lambda: ' | ' in find('legend').text)
    sums = []
    for place in (0, 50, 100):
        browser.execute_script(move, place)
        sums.append(browser.execute_script(_SUM))
    wait('the border divides two results', lambda: len(set(sums)) == 3)
    browser.execute_script(move, 50)
    if args.compared is not None:
        browser.save_screenshot(str(args.compared))
    browser.execute_script(choice, '')
    find('go').click()
    wait('one model stands alone again', lambda: not find('compared').is_displayed())


if __name__ == '__main__':
    sys.exit(main())
