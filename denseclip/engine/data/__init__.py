"""Training data whose order and augmentation are a function of (seed, epoch, position) alone."""

from .resumable import ResumableBatchSampler, ResumableDataLoader, make_resumable
from .seeded import SeededDataset, SeededIndex

__all__ = ['ResumableBatchSampler', 'ResumableDataLoader', 'SeededDataset', 'SeededIndex', 'make_resumable']
