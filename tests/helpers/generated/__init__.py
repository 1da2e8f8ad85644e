"""Tiny data sets, drawn by a seed, in the exact on-disk layouts of the real ones."""

from generated import anomaly, coco, miniworld, open_vocab, pairs, panoptic, pictures  # noqa: F401  (register layouts)
from generated.writing import IGNORED, LAYOUTS, Request, Scene, draw_scene, layout_of, register_layout, write_dataset

__all__ = [
    'IGNORED',
    'LAYOUTS',
    'Request',
    'Scene',
    'draw_scene',
    'layout_of',
    'register_layout',
    'write_dataset',
]
