"""Memory, files and threads over thousands of calls: see ``__main__``."""
