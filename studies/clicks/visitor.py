"""A person at a page: Chromium, and steps that are checked by what the page shows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS = 120
_ONLY_HERE = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'


class Visitor:
    """A person at a page.

    Args:
        browser: Chromium.
        folder: Where it puts what is saved.
    """

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder

    def opens(self, address: str) -> None:
        """Go to a page."""
        self.browser.get(address)

    def find(self, name: str) -> Any:
        """An element by its id."""
        return self.browser.find_element('id', name)

    def all(self, selector: str) -> list[Any]:
        """Elements by a CSS selector."""
        return self.browser.find_elements('css selector', selector)

    def runs(self, script: str, *values: Any) -> Any:
        """What a script in the page gives."""
        return self.browser.execute_script(script, *values)

    def sees(self, what: str, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: If it does not within two minutes.
        """
        end = time.monotonic() + _SECONDS
        while not condition():
            if time.monotonic() > end:
                said = ' '.join(node.text for node in self.all('#said'))
                raise TimeoutError(f'not seen within {_SECONDS} s: {what}; the page says "{said}"')
            time.sleep(0.05)
        print(f'seen: {what}', flush=True)

    def types(self, words: str) -> None:
        """Fill in the words and press the button."""
        self.find('words').clear()
        self.find('words').send_keys(words)
        self.find('go').click()

    def chooses(self, picture: Path) -> None:
        """Choose a photograph."""
        self.find('image').send_keys(str(picture.resolve()))
        self.sees(f'{picture.name} is chosen', lambda: picture.name in self.find('chosen').text)

    def presses(self, *keys: str) -> None:
        """Press keys where the page has its focus: letters, or names of selenium's keys such as ``ARROW_RIGHT``."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        chain = ActionChains(self.browser)
        for key in keys:
            chain.send_keys(getattr(Keys, key, key))
        chain.perform()

    def saves(self, name: str, act: Callable[[], Any]) -> Path:
        """Do what saves a file, and wait for it.

        Returns:
            The file, which holds more than 60 bytes.
        """
        file = self.folder / name
        file.unlink(missing_ok=True)
        act()
        self.sees(f'{name} is saved', lambda: file.is_file() and file.stat().st_size > 60)
        return file

    def takes(self, picture: Path | None) -> None:
        """Take a picture of the window, a PNG, if a file is named."""
        if picture is not None:
            picture.parent.mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(picture))

    def reads_the_log(self, but: str | None = None) -> None:
        """Look for errors in the log of the browser.

        Args:
            but: Errors that hold this are meant to be there.

        Raises:
            RuntimeError: If there are others.
        """
        entries = [entry['message'] for entry in self.browser.get_log('browser') if entry['level'] == 'SEVERE']
        faults = [text for text in entries if but is None or but not in text]
        if faults:
            raise RuntimeError(f'the browser complains: {faults}')
        print('seen: nothing in the log of the browser', flush=True)


@contextmanager
def visitor(binary: str, driver: str) -> Iterator[Visitor]:
    """A person at a Chromium that reaches this machine alone.

    Args:
        binary: Chromium.
        driver: Its driver.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = binary
    for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--window-size=1360,860', _ONLY_HERE):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    with tempfile.TemporaryDirectory() as folder:
        options.add_experimental_option('prefs', {'download.default_directory': folder})
        browser = webdriver.Chrome(options, Service(driver))
        try:
            yield Visitor(browser, Path(folder))
        finally:
            browser.quit()
