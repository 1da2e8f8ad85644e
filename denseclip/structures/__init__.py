"""Data samples: what data sets give to models and models give back."""

from .anomaly_sample import AnomalyDataSample
from .mask_proposals import MaskProposals, MaskProposer

__all__ = ['AnomalyDataSample', 'MaskProposals', 'MaskProposer']
