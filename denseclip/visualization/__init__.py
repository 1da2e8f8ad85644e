"""Pictures of results: overlays with a legend, palettes, and label maps as PNG files.

The names below are imported on first use: palettes and label maps need no OpenCV, drawing does.
"""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        'distinct_palette': 'palette',
        'encode_label_png': 'label_png',
        'known_palette': 'palette',
        'overlay_palette': 'palette',
        'overlay_picture': 'overlay',
        'palette_for': 'palette',
        'read_label_png': 'label_png',
    },
)
