"""Models over HTTP: words and pictures in, results out. Neither torch nor the host stack is imported here."""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {'Limits': 'limits', 'Problem': 'problems', 'Service': 'service', 'make_app': 'app', 'serve': 'server'},
)
