"""A page that labels photographs by typed words in the browser alone; see :mod:`denseclip.browser.build`."""

from denseclip.browser.build import build_page

__all__ = ['build_page']
