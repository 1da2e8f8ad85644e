"""Converters: other people's weight files to ours, and back where that is useful.

Every module of this package registers its converters when it is imported; all of them are imported here.
"""

import importlib
import pkgutil

from .registry import CONVERTERS, Converter, convert, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')

__all__ = ['CONVERTERS', 'Converter', 'convert', 'register']
