"""Click-throughs of every page that the suite writes, in a real browser: see ``__main__``."""
