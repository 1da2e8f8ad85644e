"""Many people at one server: see ``__main__``."""
