"""What a converter may replace; see :mod:`denseclip.files.ours`."""

from denseclip.files.ours import ConversionError, check_apart, check_replaceable, record

__all__ = ['ConversionError', 'check_apart', 'check_replaceable', 'record']
