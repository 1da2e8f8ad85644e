"""A click-through of the page for browsers, and its labels beside those of the runtime: see ``__main__``."""
