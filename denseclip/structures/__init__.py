"""Data samples: what data sets give to models and models give back."""

from .anomaly import AnomalyDataSample

__all__ = ['AnomalyDataSample']
