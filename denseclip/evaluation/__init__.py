"""Metrics, as functions and as MMEngine metrics."""

from denseclip.evaluation.anomaly import AnomalyMetric

__all__ = ['AnomalyMetric']
