"""Losses; importing this package registers them."""

from .class_balanced import ClassBalancedCrossEntropyLoss

__all__ = ['ClassBalancedCrossEntropyLoss']
