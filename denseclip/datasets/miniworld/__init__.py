"""Miniworld: a procedural world of pictures, captions, labels and parts, in the layouts of real data sets."""

from .dataset import MiniworldDataset, MiniworldInstances, MiniworldPictures
from .kinds import CLASSES, UNSEEN
from .layouts import LAYOUTS, MiniworldError
from .world import Mix
from .writer import Writing, write_miniworld

__all__ = [
    'CLASSES',
    'LAYOUTS',
    'UNSEEN',
    'Mix',
    'MiniworldDataset',
    'MiniworldError',
    'MiniworldInstances',
    'MiniworldPictures',
    'Writing',
    'write_miniworld',
]
