"""Models as ONNX graphs whose words stay free, with all that ``denseclip.runtime`` needs to run them."""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {'ExportError': 'errors', 'capability': 'capabilities', 'export': 'run'},
)
