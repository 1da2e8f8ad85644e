"""Frozen networks that give targets: DINO for correlations, FOUND for the foreground."""

from .base import Teacher
from .correlation import DINOTeacher
from .dino import DINOFeatures, DINOTower
from .foreground import ForegroundTeacher, FOUNDSeedTeacher, FOUNDTeacher

__all__ = [
    'DINOFeatures',
    'DINOTeacher',
    'DINOTower',
    'FOUNDSeedTeacher',
    'FOUNDTeacher',
    'ForegroundTeacher',
    'Teacher',
]
