"""How a model computes: precision, memory layout, graphs. One switch for every model, command and tool."""

from .switch import LAYOUTS, Compute, Layout

__all__ = ['LAYOUTS', 'Compute', 'Layout']
