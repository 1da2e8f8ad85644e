"""Pictures of results: overlays with a legend, palettes, and label maps as PNG files."""

from denseclip.visualization.label_png import encode_label_png, read_label_png
from denseclip.visualization.overlay import overlay_picture
from denseclip.visualization.palette import distinct_palette, known_palette, overlay_palette, palette_for

__all__ = [
    'distinct_palette',
    'encode_label_png',
    'known_palette',
    'overlay_palette',
    'overlay_picture',
    'palette_for',
    'read_label_png',
]
