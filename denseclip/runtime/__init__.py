"""Exported models without PyTorch: numpy, Pillow, onnxruntime and tokenizers are all that is needed.

>>> model = denseclip.runtime.load('exported')  # doctest: +SKIP
>>> model.segment('street.jpg', 'road; car = automobile, vehicle; sky').save('out')  # doctest: +SKIP
"""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        'Manifest': 'manifest',
        'RuntimeModel': 'model',
        'RuntimeAnomalyModel': 'anomaly',
        'RuntimeMaskModel': 'masks',
        'RuntimeBoxModel': 'boxes',
        'load': 'loading',
    },
)
