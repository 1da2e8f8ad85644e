"""Miniworld on disk, in the layouts of real data sets."""

from .base import Job, Layout, MiniworldError, Request
from .coco import COCO
from .inspection import MVTecAD, VisA
from .semantic import ADE20K, VOC, Cityscapes, COCOStuff, PascalContext

LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout for layout in (ADE20K, COCO, COCOStuff, VOC, PascalContext, Cityscapes, MVTecAD, VisA)
}
"""All layouts by name."""

__all__ = ['LAYOUTS', 'Job', 'Layout', 'MiniworldError', 'Request']
