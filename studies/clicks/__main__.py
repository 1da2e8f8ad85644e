"""Click through the pages that the suite writes in a real browser, as a person would.

python -m studies.clicks serve street.jpg --words "temple; sky; trees" --out serve.png
python -m studies.clicks page page/ street.jpg other.jpg
python -m studies.clicks report inspection/
python -m studies.clicks review labelled/

Needs selenium, and a Chromium with its driver (``apt-get install chromium chromium-driver``), which reaches nothing but
this machine. ``make clicks`` makes all of them first. The exit code says whether everything was as it should be.
"""

import argparse
import sys
from pathlib import Path

from studies.clicks import browser_page, report_page, review_page, serve_page
from studies.clicks.visitor import visitor

_PAGES = {'serve': serve_page, 'page': browser_page, 'report': report_page, 'review': review_page}


def main(argv: list[str] | None = None) -> int:
    """Visit one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pages = parser.add_subparsers(dest='which', required=True)
    for name, page in _PAGES.items():
        own = pages.add_parser(name, help=page.__doc__)
        page.add_arguments(own)
        own.add_argument('--browser', default='/usr/bin/chromium')
        own.add_argument('--driver', default='/usr/bin/chromedriver')
        own.add_argument('--out', type=Path, help='PNG of the page to write')
    args = parser.parse_args(argv)
    with visitor(args.browser, args.driver) as person:
        try:
            _PAGES[args.which].visit(person, args)
        except (RuntimeError, TimeoutError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
