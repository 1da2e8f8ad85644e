"""A click-through of the page of a server: see ``__main__``."""
